"""A store that refuses some datapoints for their content, as long as a test wants."""

import sqlite3

import psycopg

TABOO = "taboo"


class Refusing:
    """A store that refuses a datapoint named "taboo" as long as refuse() is in force."""

    def __init__(self, url):
        self.url = url

    def run(self, for_sqlite, for_postgres):
        if self.url.startswith("sqlite:"):
            database = sqlite3.connect(self.url.removeprefix("sqlite:"), timeout=30)
            database.execute(for_sqlite)
            database.commit()
            database.close()
        else:
            with psycopg.connect(self.url, autocommit=True) as database:
                database.execute(for_postgres)

    def refuse(self):
        # SQLite adds no CHECK to a table that is there; its trigger ends in the same way.
        self.run(
            "CREATE TRIGGER no_taboo BEFORE INSERT ON event WHEN new.datapoint = 'taboo' "
            "BEGIN SELECT RAISE(ABORT, 'no_taboo is violated'); END",
            "ALTER TABLE event ADD CONSTRAINT no_taboo CHECK (datapoint <> 'taboo') NOT VALID",
        )

    def allow(self):
        self.run("DROP TRIGGER no_taboo", "ALTER TABLE event DROP CONSTRAINT no_taboo")

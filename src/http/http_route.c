/*
 * Finds the route for a method and a path.
 *
 * The table has some twenty rows, so a walk comparing lengths first is the fastest index.
 * A literal path that matches owns its address: routes with a capture are then not asked.
 */
#include "base/mem.h"
#include "http/http_priv.h"

static struct route compile_one(const struct http_route *row)
{
    const char *capture = strstr(row->path, "{}");
    struct route route = {.method = slice_of(row->method),
                          .before = slice_of(row->path),
                          .captures = capture != NULL,
                          .handler = row->handler,
                          .admit = row->admit};

    if (route.captures) {
        route.before.len = (size_t)(capture - row->path);
        route.after = slice_of(capture + 2);
    }
    return route;
}

void route_compile(struct http_server *server)
{
    const struct http_route *rows = server->options.routes;
    size_t count = 0;

    while (rows[count].handler != NULL)
        count++;
    server->routes = mem_alloc((count + 1) * sizeof *server->routes);
    server->route_count = count;
    for (size_t i = 0; i < count; i++)
        server->routes[i] = compile_one(&rows[i]);
}

void route_free(struct http_server *server)
{
    free(server->routes);
}

static bool matches_capture(const struct route *route, struct slice path, struct slice *capture)
{
    struct slice middle;

    if (path.len <= route->before.len + route->after.len)
        return false;
    middle = (struct slice){path.at + route->before.len,
                            path.len - route->before.len - route->after.len};
    if (memcmp(path.at, route->before.at, route->before.len) != 0 ||
        memcmp(middle.at + middle.len, route->after.at, route->after.len) != 0 ||
        memchr(middle.at, '/', middle.len) != NULL)
        return false;
    *capture = middle;
    return true;
}

static bool matches(const struct route *route, struct slice path, bool captures,
                    struct slice *capture)
{
    if (route->captures != captures)
        return false;
    if (captures)
        return matches_capture(route, path, capture);
    return slice_equal(route->before, path);
}

static void append_method(struct buf *allow, const char *method, size_t len)
{
    buf_printf(allow, "%s%.*s", allow->len > 0 ? ", " : "", (int)len, method);
}

static void list_methods(const struct http_server *server, struct slice path, bool captures,
                         struct buf *allow)
{
    struct slice ignored;

    for (size_t i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];

        if (!matches(route, path, captures, &ignored))
            continue;
        append_method(allow, route->method.at, route->method.len);
        if (slice_is(route->method, "GET"))
            append_method(allow, "HEAD", 4);
    }
}

static const struct route *find(const struct http_server *server, struct slice method,
                                struct slice path, bool captures, struct slice *capture,
                                bool *known)
{
    *known = false;
    for (size_t i = 0; i < server->route_count; i++) {
        const struct route *route = &server->routes[i];
        struct slice found = {NULL, 0};

        if (!matches(route, path, captures, &found))
            continue;
        *known = true;
        if (slice_equal(route->method, method)) {
            *capture = found;
            return route;
        }
    }
    return NULL;
}

const struct route *route_find(const struct http_server *server, struct slice method,
                               struct slice path, struct slice *ret_capture, struct buf *allow)
{
    const struct route *route = NULL;
    bool known = false;

    *ret_capture = (struct slice){NULL, 0};
    if (slice_is(method, "HEAD"))
        method = SLICE("GET");
    for (int captures = 0; captures <= 1 && !known; captures++) {
        route = find(server, method, path, captures != 0, ret_capture, &known);
        if (known && (route == NULL || slice_is(method, "OPTIONS")))
            list_methods(server, path, captures != 0, allow);
    }
    return route;
}

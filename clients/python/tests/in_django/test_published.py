"""The published django-labs-accounts beside this package: the same product code on both, call by
call, and what each sends. Each of the differences that docs/django.md lists is a test below."""

import asyncio
import logging
import types
from datetime import datetime, timedelta, timezone

import kits
import pytest
from django.http import Http404, HttpResponse
from django.test import Client, override_settings
from django.urls import include, path
from rest_framework import exceptions, generics
from rest_framework.decorators import action
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

import labs_analytics.django.guard as guard

pytest.importorskip("analytics.analytics", reason="django-labs-accounts is not installed")


@pytest.fixture
def both(scripted):
    """both(use): use(kit) with each package; its outcome and what was sent, of each."""

    def compare(use, product=10):
        guard._told.clear()
        found = []
        for make in (kits.published, kits.ours):
            with make(scripted, product) as kit:
                try:
                    outcome = use(kit)
                except Exception as fault:
                    outcome = (type(fault), str(fault))
                found.append((outcome, kit.sent()))
        return found

    return compare


def same(found):
    """Asserts that both did the same, and gives what was sent."""
    (their_outcome, theirs), (our_outcome, ours) = found
    assert our_outcome == their_outcome
    for their, our in zip(theirs, ours):
        assert abs(our["timestamp"] - their["timestamp"]) < 60
    assert [_timeless(one) for one in ours] == [_timeless(one) for one in theirs]
    return ours


def _timeless(transaction):
    """Durations differ from call to call, but are whole microseconds in text."""
    data = [
        (key, "duration" if ".time" in key and value.isdigit() else value)
        for key, value in transaction["data"]
    ]
    return {"product": transaction["product"], "pennkey": transaction["pennkey"], "data": data}


# -- views

VIEW_ENTRIES = {
    "default": lambda kit: [kit.ViewEntry()],
    "named": lambda kit: [kit.ViewEntry(name="n")],
    "empty name": lambda kit: [kit.ViewEntry(name="")],
    "positional": lambda kit: [kit.ViewEntry("n", "v")],
    "value": lambda kit: [kit.ViewEntry(name="n", value="v")],
    "value 0": lambda kit: [kit.ViewEntry(name="n", value=0)],
    "value False": lambda kit: [kit.ViewEntry(name="n", value=False)],
    "value float": lambda kit: [kit.ViewEntry(name="n", value=2.50)],
    "value list": lambda kit: [kit.ViewEntry(name="n", value=["a", 1])],
    "value umlaut": lambda kit: [kit.ViewEntry(name="ä-b:c", value="ü \u2028 '\" \\")],
    "get_value": lambda kit: [kit.ViewEntry(name="n", get_value=lambda req, _: req.path)],
    "get_value None": lambda kit: [kit.ViewEntry(name="n", get_value=lambda *_: None)],
    "get_value data": lambda kit: [
        kit.ViewEntry(name="n", get_value=lambda _, res: sorted(getattr(res, "data", "")))
    ],
    "before": lambda kit: [
        kit.ViewEntry(
            name="n",
            compute_before=lambda: "before",
            get_value_use_before=lambda req, res, before: f"{before} {res.status_code}",
        )
    ],
    "before unused": lambda kit: [kit.ViewEntry(compute_before=lambda: 1)],
    "use before of none": lambda kit: [
        kit.ViewEntry(name="n", get_value_use_before=lambda req, res, before: before)
    ],
    "filter yes": lambda kit: [kit.ViewEntry(filter_do_record=lambda *_: True)],
    "filter no": lambda kit: [kit.ViewEntry(filter_do_record=lambda *_: False)],
    "filter truthy": lambda kit: [kit.ViewEntry(filter_do_record=lambda *_: "yes")],
    "filter empty": lambda kit: [kit.ViewEntry(filter_do_record=lambda *_: [])],
    "filter raises": lambda kit: [kit.ViewEntry(filter_do_record=lambda *_: 1 / 0)],
    "filter status": lambda kit: [
        kit.ViewEntry(filter_do_record=lambda _, res: res.status_code < 300)
    ],
    "some filtered": lambda kit: [
        kit.ViewEntry(name="a"),
        kit.ViewEntry(name="b", filter_do_record=lambda *_: False),
        kit.ViewEntry(name="c"),
    ],
    "methods GET": lambda kit: [kit.ViewEntry(methods=["GET"])],
    "methods lower case": lambda kit: [kit.ViewEntry(methods=["get"])],
    "methods text": lambda kit: [kit.ViewEntry(methods="POST")],
    "methods none": lambda kit: [kit.ViewEntry(methods=[])],
    "methods and others": lambda kit: [
        kit.ViewEntry(name="a", methods=["GET", "PUT"]),
        kit.ViewEntry(name="b", methods=["POST"]),
        kit.ViewEntry(name="c"),
    ],
    "actions": lambda kit: [kit.ViewEntry(actions=["list"])],
    "constants": lambda kit: [
        kit.ViewEntry.time,
        kit.ViewEntry.status,
        kit.ViewEntry.failure_status,
    ],
    "twice the same": lambda kit: [kit.ViewEntry.status] * 2,
    "none": lambda kit: [],
}


def urls(*patterns):
    module = types.ModuleType("urls_of_a_test")
    module.urlpatterns = list(patterns)
    return override_settings(ROOT_URLCONF=module)


def ask(*requests, user="jdoe"):
    """[(method, path)]; gives status and content of each. Answers to OPTIONS name the view's
    class, which is one of the differences below."""
    client = Client(raise_request_exception=False)
    headers = {"HTTP_X_USER": user} if user else {}
    answers = [getattr(client, method)(where, **headers) for method, where in requests]
    return [
        (answer.status_code, None if method == "options" else answer.content)
        for (method, _), answer in zip(requests, answers)
    ]


class Behaviour(APIView):
    """Answers as its query says."""

    def get(self, request):
        how = request.GET.get("how", "200")
        if how == "denied":
            raise exceptions.PermissionDenied
        if how == "missing":
            raise Http404
        if how == "raises":
            raise RuntimeError("of the view")
        if how == "plain":
            return HttpResponse("plain")
        return Response({"path": request.path}, status=int(how))

    post = put = patch = delete = get


REQUESTS = [
    *(("get", f"/a-b/?how={how}") for how in (200, 201, 302, 399, 400, 404, 500)),
    *(("get", f"/a-b/?how={how}") for how in ("denied", "missing", "raises", "plain")),
    *((method, "/a-b/") for method in ("post", "put", "patch", "delete", "head", "options")),
]


@pytest.mark.parametrize("entries", VIEW_ENTRIES)
def test_a_view_is_recorded_as_published(both, entries):
    def use(kit):
        view = kit.recorder.record_apiview(*VIEW_ENTRIES[entries](kit))(
            type("View", (Behaviour,), {})
        )
        with urls(path("a-b/", view.as_view(), name="view-of-a")):
            return ask(*REQUESTS)

    same(both(use))


@pytest.mark.parametrize("user", ["jdoe", None])
@pytest.mark.parametrize("product", range(11))
def test_product_and_user_are_those_of_the_published(both, product, user):
    def use(kit):
        view = kit.recorder.record_apiview(kit.ViewEntry())(type("View", (Behaviour,), {}))
        with urls(path("a-b/", view.as_view(), name="view")):
            return ask(("get", "/a-b/"), user=user)

    (sent,) = same(both(use, product))
    assert sent["product"] == product
    assert sent["pennkey"] == (user or "")


@pytest.mark.parametrize("namespace", [[], ["app-one"], ["app_one", "v-2"], ["app.one"]], ids=str)
@pytest.mark.parametrize("name", ["view", "the-view", "a:b", "a.b", "ä"])
def test_keys_are_made_of_the_url_as_published(both, namespace, name):
    def use(kit):
        view = kit.recorder.record_apiview(kit.ViewEntry(), kit.ViewEntry(name="n-1"))(
            type("View", (Behaviour,), {})
        )
        pattern = path("a-b/", view.as_view(), name=name)
        for space in reversed(namespace):
            pattern = path("", include(([pattern], space), namespace=space))
        with urls(pattern):
            return ask(("get", "/a-b/"))

    (sent,) = same(both(use))
    prefix = ".".join([*namespace, name]).replace(":", ".").replace("-", "_")
    assert [key for key, _ in sent["data"]] == [f"{prefix}.get", f"{prefix}.n-1.get"]


def test_a_url_without_a_name_that_is_a_function_has_the_published_key(both):
    def use(kit):
        function = kit.recorder.record_apiview(kit.ViewEntry())(Behaviour).as_view()

        def view(request):
            return function(request)

        with urls(path("a-b/", view)):
            return ask(("get", "/a-b/"))

    same(both(use))


@pytest.mark.parametrize("permitted", [True, False])
def test_generic_views_and_authentication_are_recorded_as_published(both, permitted):
    def use(kit):
        @kit.recorder.record_apiview(kit.ViewEntry(), kit.ViewEntry.status)
        class View(generics.GenericAPIView):
            def check_permissions(self, request):
                if not permitted:
                    self.permission_denied(request)

            def get(self, request):
                return Response(self.kwargs)

        with urls(path("a/<int:number>/", View.as_view(), name="numbers")):
            return ask(("get", "/a/7/"), ("get", "/a/x/")), ask(("get", "/a/7/"), user=None)

    same(both(use))


ACTIONS = {
    "all": lambda kit: [kit.ViewEntry()],
    "list": lambda kit: [kit.ViewEntry(actions=["list"])],
    "several": lambda kit: [
        kit.ViewEntry(name="a", actions=["list", "retrieve"]),
        kit.ViewEntry(name="b", actions=["retrieve", "join"]),
        kit.ViewEntry(name="c", actions=()),
        kit.ViewEntry(name="d", methods=["POST"]),
    ],
    "unknown": lambda kit: [kit.ViewEntry(actions=["unknown"])],
    "no action": lambda kit: [kit.ViewEntry(actions=[None, "metadata"])],
    "text": lambda kit: [kit.ViewEntry(actions=("list",), name="n", value="v")],
}


@pytest.mark.parametrize("entries", ACTIONS)
def test_a_viewset_is_recorded_as_published(both, entries):
    def use(kit):
        @kit.recorder.record_apiview(*ACTIONS[entries](kit))
        class Clubs(ViewSet):
            def list(self, request):
                return Response([])

            def create(self, request):
                return Response({}, status=201)

            def retrieve(self, request, pk):
                return Response({"pk": pk}, status=200 if pk != "0" else 404)

            def destroy(self, request, pk):
                raise exceptions.MethodNotAllowed("DELETE")

            @action(detail=True, methods=["get", "post"], url_path="to-join")
            def join(self, request, pk):
                return Response(None)

        router = SimpleRouter()
        router.register("clubs", Clubs, basename="club")
        with urls(path("api/", include((router.urls, "api-v1")))):
            return ask(
                *(("get", f"/api/clubs/{rest}") for rest in ("", "1/", "0/", "1/to-join/")),
                ("post", "/api/clubs/"),
                ("post", "/api/clubs/1/to-join/"),
                *((method, "/api/clubs/1/") for method in ("delete", "put", "options", "head")),
            )

    same(both(use))


# -- functions of views

API_ENTRIES = {
    "default": lambda kit: [kit.FuncEntry()],
    "named": lambda kit: [kit.FuncEntry(name="n")],
    "positional": lambda kit: [kit.FuncEntry("n", 5)],
    "value": lambda kit: [kit.FuncEntry(name="n", value=0)],
    "get_value": lambda kit: [
        kit.FuncEntry(name="n", get_value=lambda args, res: f"{args[2:]} {res.status_code}")
    ],
    "count of arguments": lambda kit: [
        kit.FuncEntry(name="n", get_value=lambda args, _: len(args))
    ],
    "with args": lambda kit: [
        kit.FuncEntry(name="n", get_value_with_args=lambda _, request, pk: f"{request.path} {pk}")
    ],
    "with args, a number": lambda kit: [
        kit.FuncEntry(name="n", get_value_with_args=lambda *args: len(args))
    ],
    "before": lambda kit: [
        kit.FuncEntry(
            name="n", compute_before=lambda: 5, get_value_use_before=lambda a, r, before: before
        )
    ],
    "filters": lambda kit: [
        kit.FuncEntry(name="a", filter_do_record=lambda args, _: args[2] == "7"),
        kit.FuncEntry(name="b", filter_do_record=lambda args, _: args[99]),
        kit.FuncEntry(name="c", filter_do_record=lambda _, res: res.status_code == 404),
    ],
    "constants": lambda kit: [
        kit.FuncEntry.time,
        kit.FuncEntry.status,
        kit.FuncEntry.failure_status,
    ],
    "a view's entry": lambda kit: [kit.ViewEntry(name="n")],
    "none": lambda kit: [],
}


@pytest.mark.parametrize("entries", API_ENTRIES)
def test_a_function_of_a_view_is_recorded_as_published(both, entries):
    def use(kit):
        made = API_ENTRIES[entries](kit)

        class View(APIView):
            @kit.recorder.record_api_function(*made)
            def get(self, request, pk):
                if pk == "raises":
                    raise exceptions.ParseError
                return Response({"pk": pk}, status=404 if pk == "0" else 200)

            @kit.recorder.record_api_function(*made)
            def post(self, request, pk, *args, **kwargs):
                local = pk
                return Response({"pk": local}, status=201)

        class Set(ViewSet):
            @kit.recorder.record_api_function(*made)
            def retrieve(self, request, pk):
                return Response({"pk": pk})

            @action(detail=True)
            @kit.recorder.record_api_function(*made)
            def inner(self, request, pk):
                return Response({"pk": pk})

            @kit.recorder.record_api_function(*made)
            @action(detail=True)
            def outer(self, request, pk):
                return Response({"pk": pk})

        router = SimpleRouter()
        router.register("set", Set, basename="set")
        with urls(
            path("a/<str:pk>/", View.as_view(), name="a-view"), path("", include(router.urls))
        ):
            return ask(
                *(("get", f"/a/{pk}/") for pk in ("7", "0", "raises")),
                ("post", "/a/7/"),
                ("head", "/a/7/"),
                *(("get", f"/set/7/{rest}") for rest in ("", "inner/", "outer/")),
            ), ask(("get", "/a/7/"), user=None)

    same(both(use))


# -- functions

FUNCTION_ENTRIES = {
    "default": lambda kit: [kit.FuncEntry()],
    "named": lambda kit: [kit.FuncEntry(name="n")],
    "value": lambda kit: [kit.FuncEntry(name="n", value=None)],
    "arguments": lambda kit: [kit.FuncEntry(name="n", get_value=lambda args, _: args)],
    "result": lambda kit: [kit.FuncEntry(name="n", get_value=lambda _, result: result)],
    "with args": lambda kit: [kit.FuncEntry(name="n", get_value_with_args=lambda *args: str(args))],
    "with args, raw": lambda kit: [
        kit.FuncEntry(name="a", get_value_with_args=lambda *args: 1),
        kit.FuncEntry(name="b", get_value_with_args=lambda *args: 2.5),
        kit.FuncEntry(name="c", get_value_with_args=lambda *args: True),
        kit.FuncEntry(name="d", get_value_with_args=lambda *args: None),
        kit.FuncEntry(name="e", get_value_with_args=lambda *args: "text"),
    ],
    "time": lambda kit: [kit.FuncEntry.time],
    "filter result": lambda kit: [
        kit.FuncEntry(name="a", filter_do_record=lambda _, result: result),
        kit.FuncEntry(name="b", filter_do_record=lambda _, result: not result),
        kit.FuncEntry(name="c", filter_do_record=lambda _, result: result.none),
    ],
    "entries of other kinds": lambda kit: [kit.ViewEntry(name="view"), kit.FuncEntry(name="n")],
    "none": lambda kit: [],
}


def nothing():
    return "nothing"


def one(a):
    return a


def two(a, b):
    local = a, b
    return local


def positional(a, /, b):
    return [a, b]


def defaults(a, b=2, c="x"):
    return a


def variadic(a, *args, **kwargs):
    return len(args) + len(kwargs)


def keyword_only(a, *, b):
    return b


def only_variadic(*args, **kwargs):
    return args


def raises(a):
    raise LookupError(a)


def generates(a):
    yield a


CALLS = [
    (nothing, (), {}),
    (one, (1,), {}),
    (one, (), {"a": "x"}),
    (one, (None,), {}),
    (two, (1, 2), {}),
    (two, (1,), {"b": 2}),
    (two, (), {"b": 2, "a": 1}),
    (positional, (1, 2), {}),
    (positional, (1,), {"b": 2}),
    (defaults, (1, 5, "y"), {}),
    (defaults, (1,), {"b": 3, "c": "z"}),
    (variadic, (1, 2, 3), {"x": 4}),
    (variadic, (), {"a": 1, "x": 4}),
    (keyword_only, (1,), {"b": 2}),
    (only_variadic, (1,), {"b": 2}),
    (raises, (1,), {}),
]


@pytest.mark.parametrize("entries", FUNCTION_ENTRIES)
@pytest.mark.parametrize(("function", "args", "kwargs"), CALLS)
def test_a_function_is_recorded_as_published(both, entries, function, args, kwargs):
    def use(kit):
        decorated = kit.recorder.record_function(
            *FUNCTION_ENTRIES[entries](kit),
            get_username=lambda arguments, result: f"user-{arguments}",
        )(function)
        assert decorated.__name__ == function.__name__
        assert decorated.__wrapped__ is function
        return decorated(*args, **kwargs)

    same(both(use))


@pytest.mark.parametrize("pennkey", ["jdoe", "", None])
def test_the_user_of_a_function_is_recorded_as_published(both, pennkey):
    def use(kit):
        kit.recorder.record_function(kit.FuncEntry(), get_username=lambda *_: pennkey)(one)(1)
        kit.recorder.record_function(kit.FuncEntry())(one)(2)

    first, second = same(both(use))
    assert (first["pennkey"], second["pennkey"]) == (pennkey, None)


UNARY = {
    "default": lambda kit: [kit.UnaryFuncEntry()],
    "get_value": lambda kit: [kit.UnaryFuncEntry(name="n", get_value=lambda a, r: f"{a} {r}")],
    "before": lambda kit: [
        kit.UnaryFuncEntry(
            "n", compute_before=lambda: 7, get_value_use_before=lambda a, r, before: before
        )
    ],
    "filter": lambda kit: [kit.UnaryFuncEntry(filter_do_record=lambda a, r: a == 1)],
    "order": lambda kit: [
        kit.FuncEntry(name="first", get_value=lambda args, _: args),
        kit.UnaryFuncEntry(name="second", get_value=lambda a, _: a),
        kit.FuncEntry(name="third", value=3),
        kit.UnaryFuncEntry(name="fourth", value=4),
    ],
}


@pytest.mark.parametrize("entries", UNARY)
def test_functions_of_one_argument_are_recorded_as_published(both, entries):
    def use(kit):
        made = UNARY[entries](kit)
        decorated = [kit.recorder.record_function(*made)(f) for f in (one, variadic, keyword_only)]
        for function in decorated[:2]:
            function(1)
            function(a="x")
        decorated[2](1, b=2)

        class Club:
            @kit.recorder.record_function(*made)
            def name(self):
                return "club"

            def __repr__(self):
                return "a club"

        return Club().name()

    same(both(use))


@pytest.mark.parametrize("function", [nothing, two, defaults, only_variadic])
def test_a_unary_entry_is_refused_where_it_is_published_to_be(both, function):
    def use(kit):
        with pytest.raises(ValueError, match="single argument|one argument"):
            kit.recorder.record_function(kit.UnaryFuncEntry())(function)

    same(both(use))


def test_methods_and_nested_functions_have_the_published_keys(both):
    def use(kit):
        class Club:
            @kit.recorder.record_function(kit.FuncEntry(name="n", get_value=lambda a, _: a[1]))
            def join(self, user):
                return user

            @staticmethod
            @kit.recorder.record_function(kit.FuncEntry())
            def count(number):
                return number

            @classmethod
            @kit.recorder.record_function(kit.FuncEntry())
            def make(cls, name=None, *others):
                return name

        Club().join("jdoe")
        Club.count(1)
        Club.make("x", 2)
        return Club.join.__qualname__

    assert len(same(both(use))) == 3


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (kind, given)
        for kind in ("ViewEntry", "FuncEntry", "UnaryFuncEntry")
        for given in (
            {"value": 1},
            {"get_value": print},
            {"get_value_use_before": print},
            {"name": "n", "value": 1, "get_value": print},
            {"name": "n", "get_value": print, "get_value_use_before": print},
            {"get_value_with_args": print},
            {"name": "n", "get_value_with_args": print, "value": 0},
            {"actions": ["list"], "methods": ["GET"]},
            {"actions": [], "methods": []},
            {"unknown": 1},
            {"name": "n", "value": None, "get_value": print},
            {"compute_before": print},
        )
    ],
)
def test_entries_are_refused_where_they_are_published_to_be(both, kind, given):
    def use(kit):
        try:
            made = getattr(kit, kind)(**given)
        except (ValueError, TypeError) as fault:
            return type(fault)
        return vars(made), made == getattr(kit, kind)(**given)

    same(both(use))


# -- transactions

WHEN = datetime(2026, 9, 21, 14, 13, 20, 250000, timezone.utc)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [
        (([{"key": "a", "value": "1"}],), {}),
        (([{"key": "a", "value": 1}, {"key": "b", "value": None}],), {}),
        (([{"key": "a", "value": 1.5}], None, "jdoe", WHEN), {}),
        (([{"key": "a", "value": True}],), {"pennkey": "jdoe", "timestamp": WHEN}),
        (([{"key": "a", "value": "1"}],), {"timestamp": WHEN.replace(tzinfo=None)}),
        (([{"key": "a", "value": "1"}],), {"timestamp": WHEN + timedelta(days=1)}),
    ],
)
def test_submit_sends_what_is_published(both, args, kwargs):
    found = both(lambda kit: kit.recorder.submit(*args, **kwargs))
    (sent,) = same(found)
    if "timestamp" in kwargs or len(args) > 3:
        assert sent["timestamp"] == found[0][1][0]["timestamp"]


@pytest.mark.parametrize("product", range(1, 11))
def test_submit_of_another_product_sends_what_is_published(both, product):
    def use(kit):
        data = [{"key": "a", "value": "1"}]
        kit.recorder.submit(data, product=kit.Product(product))
        kit.recorder.submit(data, kit.Product(product), "jdoe")

    assert [sent["product"] for sent in same(both(use))] == [product] * 2


def test_a_transaction_is_as_published(both):
    def use(kit):
        data = [{"key": "a", "value": "1"}]
        txn = kit.AnalyticsTxn(kit.Product.PCR, "jdoe", WHEN, data)
        kit.recorder.submit_transaction(txn)
        empty = kit.AnalyticsTxn(product=kit.Product.PCR, pennkey=None, timestamp=WHEN)
        return txn.to_json(), vars(txn), empty.to_json()

    (sent,) = same(both(use))
    assert sent["timestamp"] == WHEN.timestamp()


def test_the_products_are_those_published(both):
    def use(kit):
        return [(one.name, one.value, str(one), f"{one:d}") for one in kit.Product]

    same(both(use))


def test_a_recorder_of_a_products_own_is_called_as_published(both):
    def use(kit):
        told = []

        class Mine(kit.AnalyticsRecorder):
            def submit_transaction(self, txn):
                told.append((txn.product, txn.pennkey, txn.data))

        Mine(kit.Product.PDP).record_function(kit.FuncEntry())(one)(1)
        with pytest.raises(TypeError):
            kit.AnalyticsRecorder(kit.Product.PDP)
        off = kit.get_analytics_recorder(kit.Product.PDP, True)
        off.record_function(kit.FuncEntry())(one)(1)
        return (
            told,
            type(off).__name__,
            kit.get_analytics_recorder(kit.Product.PDP, True).__class__.__name__,
        )

    same(both(use))


def test_a_local_recorder_prints_what_is_published(both, capsys):
    printed = []

    def use(kit):
        local = kit.LocalAnalyticsRecorder(kit.Product.CLUBS)
        local.submit([{"key": "a", "value": "1"}], pennkey="jdoe", timestamp=WHEN)
        printed.append(capsys.readouterr().out)

    same(both(use))
    assert printed[0] == printed[1]


# -- where this package differs, as docs/django.md lists it


def of_functions(entries, function=one, args=(1,), **kwargs):
    return lambda kit: kit.recorder.record_function(*entries(kit), **kwargs)(function)(*args)


def fails(*_):
    raise ZeroDivisionError("of a callback")


def raised(outcome):
    return isinstance(outcome, tuple) and isinstance(outcome[0], type)


@pytest.mark.parametrize(
    ("use", "recorded"),
    [
        (of_functions(lambda kit: [kit.FuncEntry(name="n", get_value=fails)]), []),
        (of_functions(lambda kit: [kit.FuncEntry(compute_before=fails)]), []),
        (
            of_functions(
                lambda kit: [
                    kit.FuncEntry(name="n", get_value_with_args=lambda a, b: a),
                    kit.FuncEntry(name="good"),
                ]
            ),
            [(None, [(f"{__name__}.one.good", "1")])],
        ),
        (
            of_functions(lambda kit: [kit.FuncEntry()], get_username=fails),
            [(None, [(f"{__name__}.one", "1")])],
        ),
        (
            of_functions(
                lambda kit: [kit.FuncEntry(name="n", get_value=lambda args, _: args)], defaults
            ),
            [(None, [(f"{__name__}.defaults.n", "(1, 2, 'x')")])],
        ),
    ],
    ids=["get_value", "compute_before", "get_value_with_args", "get_username", "defaults"],
)
def test_no_callback_and_no_default_breaks_a_function(both, use, recorded, caplog):
    with caplog.at_level(logging.ERROR, "labs_analytics"):
        (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert raised(their_outcome)
    assert theirs == []
    assert our_outcome == 1
    assert [(sent["pennkey"], sent["data"]) for sent in ours] == recorded


def test_a_value_that_json_has_not_costs_its_own_datapoint_only(both):
    def entries(kit):
        raw = kit.FuncEntry(name="n", get_value_with_args=lambda a: {a})
        return [raw, kit.FuncEntry(name="good")]

    (_, theirs), (our_outcome, ours) = both(of_functions(entries))
    assert theirs == []
    assert our_outcome == 1
    assert [sent["data"] for sent in ours] == [[(f"{__name__}.one.good", "1")]]


@pytest.mark.parametrize("wrong", [{"get_value": fails}, {"value": 1, "compute_before": fails}])
def test_no_callback_breaks_a_view(both, wrong, caplog):
    def use(kit):
        view = kit.recorder.record_apiview(kit.ViewEntry(), kit.ViewEntry(name="n", **wrong))(
            type("View", (Behaviour,), {})
        )
        with urls(path("a-b/", view.as_view(), name="view")):
            return [status for status, _ in ask(("get", "/a-b/"), ("get", "/a-b/"))]

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert (their_outcome, theirs) == ([500, 500], [])
    assert our_outcome == [200, 200]
    assert [sent["data"] for sent in ours] == [[("view.get", "1")]] * 2
    told = [record for record in caplog.records if record.name == "labs_analytics"]
    assert len(told) == 1
    assert told[0].exc_info[0] is ZeroDivisionError


def test_each_entry_has_its_own_before(both):
    def use(kit):
        entry = kit.ViewEntry
        view = kit.recorder.record_apiview(
            entry(name="a", methods=["POST"], compute_before=lambda: "of a"),
            entry(
                name="b",
                compute_before=lambda: "of b",
                get_value_use_before=lambda _, __, before: before,
            ),
        )(type("View", (Behaviour,), {}))
        with urls(path("a-b/", view.as_view(), name="view")):
            return ask(("get", "/a-b/"))

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert our_outcome == their_outcome
    assert theirs[0]["data"] == [("view.b.get", "of a")]
    assert ours[0]["data"] == [("view.b.get", "of b")]


def test_the_product_other_is_taken_at_its_word(both):
    def use(kit):
        kit.recorder.submit([{"key": "a", "value": "1"}], product=kit.Product.OTHER)

    (_, theirs), (_, ours) = both(use)
    assert (theirs[0]["product"], ours[0]["product"]) == (10, 0)


def test_two_recorders_keep_their_products(both):
    def use(kit):
        executor = getattr(kit.recorder, "executor", None)
        other = kit.get_analytics_recorder(kit.Product.PCR)
        other.executor = executor
        kit.recorder.submit([{"key": "a", "value": "1"}])

    (_, theirs), (_, ours) = both(use)
    assert (theirs[0]["product"], ours[0]["product"]) == (5, 10)


def test_a_view_keeps_its_name(both):
    def use(kit):
        view = kit.recorder.record_apiview(kit.ViewEntry())(
            type("View", (Behaviour,), {"__doc__": "Mine."})
        )
        with urls(path("a-b/", view.as_view())):
            ask(("get", "/a-b/"))
        return view.__name__, view.__doc__

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert their_outcome == ("WrappedClass", None)
    assert theirs[0]["data"] == [("analytics.analytics.WrappedClass.get", "1")]
    assert our_outcome == ("View", "Mine.")
    assert ours[0]["data"] == [(f"{__name__}.View.get", "1")]


def test_a_view_that_was_not_reached_by_a_url_is_answered_and_not_recorded(both):
    from rest_framework.test import APIRequestFactory

    def use(kit):
        view = kit.recorder.record_apiview(kit.ViewEntry())(type("View", (Behaviour,), {}))
        return view.as_view()(APIRequestFactory().get("/")).status_code

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert raised(their_outcome)
    assert (our_outcome, theirs, ours) == (200, [], [])


def test_a_request_behind_a_wrapper_is_found(both):
    import functools

    def wrapper(function):
        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            return function(*args, **kwargs)

        return wrapped

    def use(kit):
        class View(APIView):
            @kit.recorder.record_api_function(kit.FuncEntry())
            @wrapper
            def get(self, request):
                return Response({})

        with urls(path("a-b/", View.as_view(), name="view")):
            return [status for status, _ in ask(("get", "/a-b/"))]

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert (their_outcome, theirs) == ([500], [])
    assert our_outcome == [200]
    assert ours[0]["data"] == [("view.get", "1")]


def test_an_asynchronous_function_is_recorded_when_it_is_done(both):
    async def later(a):
        await asyncio.sleep(0)
        return f"result of {a}"

    def use(kit):
        entry = kit.FuncEntry(name="n", get_value=lambda _, result: result)
        decorated = kit.recorder.record_function(entry)(later)
        return asyncio.iscoroutinefunction(decorated), asyncio.run(decorated(1))

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert their_outcome == (False, "result of 1")
    assert our_outcome == (True, "result of 1")
    assert theirs[0]["data"][0][1].startswith("<coroutine object")
    assert ours[0]["data"][0][1] == "result of 1"


def test_what_cannot_be_sent_raises_nothing(both, caplog):
    def use(kit):
        kit.recorder.submit([{"key": "a", "value": object()}])
        kit.recorder.submit([{"key": "a", "value": "1"}], timestamp="2026-09-21T14:13:20Z")
        return "done"

    (their_outcome, theirs), (our_outcome, ours) = both(use)
    assert raised(their_outcome)
    assert our_outcome == "done"
    assert [sent["timestamp"] for sent in ours] == ["2026-09-21T14:13:20Z"]

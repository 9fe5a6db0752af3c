import os

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from labs_analytics.django.analytics import Product, get_analytics_recorder
from labs_analytics.django.entries import FuncEntry, ViewEntry

LabsAnalytics = get_analytics_recorder(Product.CLUBS)


def plain(request):
    return HttpResponse("plain")


def club(request, code=""):
    return HttpResponse(code)


def club_of_user(request, code):
    return HttpResponse(request.user.username)


async def async_club(request, code):
    user = await request.auser() if "user" in request.GET else None
    return HttpResponse(user.username if user else code)


def stream(request, code):
    return StreamingHttpResponse(iter([b"1", b"2"]))


def broken(request):
    raise RuntimeError("broken, as it should be")


def status(request, status):
    return HttpResponse(status=status)


@LabsAnalytics.record_apiview(
    ViewEntry(),
    ViewEntry(name="stars", methods=["POST"], get_value=lambda request, _: request.data["stars"]),
)
class Review(APIView):
    def get(self, request, code):
        return Response({"worker": os.getpid()})

    def post(self, request, code):
        return Response({"worker": os.getpid()}, status=201)


class Events(ViewSet):
    @LabsAnalytics.record_api_function(
        FuncEntry(name="club", get_value=lambda _, response: response.data["club"])
    )
    def retrieve(self, request, pk):
        return Response({"club": pk, "worker": os.getpid()})

from django.urls import include, path, re_path
from rest_framework.routers import SimpleRouter

from django_project import views

router = SimpleRouter()
router.register("events", views.Events, basename="event")

clubs = (
    [
        path("<str:code>/", views.club, name="detail"),
        path("<str:code>/user/", views.club_of_user, name="of-user"),
        path("<str:code>/async/", views.async_club, name="async"),
        path("<str:code>/stream/", views.stream, name="stream"),
        path("<str:code>/review/", views.Review.as_view(), name="review"),
    ],
    "clubs",
)
urlpatterns = [
    path("clubs/", include(clubs)),
    path("api/", include(router.urls)),
    path("unnamed/", views.club),
    path("broken/", views.broken, name="broken"),
    path("status/<int:status>/", views.status, name="status"),
    re_path("^plain/$", views.plain, name="plain"),
]

# A Django application with users, whose sessions are in Redis. SERIALIZER and
# COMPRESSOR are those of django-redis.
import os
import sys
import tempfile

import django
from django.conf import settings

directory = tempfile.mkdtemp()
options = {"CLIENT_CLASS": "django_redis.client.DefaultClient"}
if os.environ.get("SERIALIZER"):
    options["SERIALIZER"] = os.environ["SERIALIZER"]
if os.environ.get("COMPRESSOR"):
    options["COMPRESSOR"] = os.environ["COMPRESSOR"]
settings.configure(
    DEBUG=False,
    SECRET_KEY=os.environ["SECRETS"].split(",")[0],
    ALLOWED_HOSTS=["*"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.path.join(directory, "db")}},
    CACHES={"default": {
        "BACKEND": "django_redis.cache.RedisCache",
        "LOCATION": "redis://%s/0" % os.environ["REDIS"],
        "OPTIONS": options,
    }},
    SESSION_ENGINE="django.contrib.sessions.backends.cache",
    SESSION_COOKIE_AGE=int(os.environ.get("MAX_AGE", 3600000)) // 1000,
    PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
    DEFAULT_AUTO_FIELD="django.db.models.AutoField",
)
django.setup()

from django.contrib.auth import get_user_model, login, logout
from django.core.management import call_command
from django.http import HttpResponse
from django.urls import path


def log_in(request):
    user, _ = get_user_model().objects.get_or_create(username=request.GET["user"])
    login(request, user, backend="django.contrib.auth.backends.ModelBackend")
    request.session["user"] = request.GET["user"]
    return HttpResponse("in")


def change(request):
    request.session["user"] = request.GET["user"]
    return HttpResponse("changed")


def log_out(request):
    logout(request)
    return HttpResponse("out")


def index(request):
    if not request.user.is_authenticated:
        request.session.setdefault("views", 1)
        return HttpResponse("")
    return HttpResponse(request.session["user"])


urlpatterns = [path("login", log_in), path("change", change), path("logout", log_out), path("", index)]

if __name__ == "__main__":
    call_command("migrate", verbosity=0)
    call_command("runserver", "127.0.0.1:" + os.environ["PORT"], use_reloader=False, verbosity=0)

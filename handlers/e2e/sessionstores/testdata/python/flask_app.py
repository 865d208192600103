# A Flask application as the documentation of Flask-Session and Flask-Login shows it.
import os
from datetime import timedelta

import redis
from flask import Flask, request, session
from flask_login import LoginManager, UserMixin, login_user, logout_user
from flask_session import Session

host, port = os.environ["REDIS"].split(":")
app = Flask(__name__)
app.config.update(
    SECRET_KEY=os.environ["SECRETS"].split(",")[0],
    SESSION_TYPE="redis",
    SESSION_REDIS=redis.Redis(host=host, port=int(port)),
    SESSION_USE_SIGNER=bool(os.environ.get("SIGNER")),
    PERMANENT_SESSION_LIFETIME=timedelta(milliseconds=int(os.environ.get("MAX_AGE", 3600000))),
)
if os.environ.get("FORMAT"):
    app.config["SESSION_SERIALIZATION_FORMAT"] = os.environ["FORMAT"]
Session(app)
logins = LoginManager(app)


class User(UserMixin):
    def __init__(self, id):
        self.id = id


@logins.user_loader
def load_user(id):
    return User(id)


@app.route("/login")
@app.route("/change")
def log_in():
    login_user(User("id of " + request.args["user"]))
    session["user"] = request.args["user"]
    session["roles"] = {"reader", "editor"}
    return "in"


@app.route("/logout")
def log_out():
    logout_user()
    session.clear()
    return "out"


@app.route("/")
def index():
    session["views"] = session.get("views", 0) + 1
    return session.get("user", "")


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))

# A Flask application as the documentation of Flask-Session shows it.
import os
from datetime import timedelta

import redis
from flask import Flask, request, session
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
Session(app)


@app.route("/login")
@app.route("/change")
def log_in():
    session["user"] = request.args["user"]
    session["roles"] = {"reader", "editor"}
    return "in"


@app.route("/logout")
def log_out():
    session.clear()
    return "out"


@app.route("/")
def index():
    session["views"] = session.get("views", 0) + 1
    return session.get("user", "")


app.run(host="127.0.0.1", port=int(os.environ["PORT"]))

"""The peer of the list page: the smallest Flask application."""

from flask import Flask

app = Flask("bare")


@app.get("/")
def hello() -> str:
    return "Hello, World!"

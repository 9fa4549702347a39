"""The Python client and the commands of users."""

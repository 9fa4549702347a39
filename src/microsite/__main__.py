"""`python -m microsite` is `microsite`."""

from microsite.cli import main

main()

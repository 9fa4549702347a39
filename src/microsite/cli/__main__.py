"""`python -m microsite.cli`."""

from microsite.cli import main

main()

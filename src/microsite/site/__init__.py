"""The site itself: the home page, signed out and signed in."""

from microsite.core.feature import Feature

from .views import bp

feature = Feature(name="site", summary="Home page", bp=bp, home="site.home", can_be_off=False)

"""Every refusal and every failure of the whole site, as a page or as problem JSON."""

from microsite.core.feature import Feature

from .views import bp

feature = Feature(name="errors", summary="Error pages and problem JSON", bp=bp, can_be_off=False)

"""Instagram behind the RapidAPI gateway: Instagram's own refusals are passed through."""

from beat_actors.platforms.instagram.payloads import PASSED_THROUGH
from beat_actors.platforms.rapidapi import BY_STATUS, GATEWAY_ERRORS, RapidApiSource


class InstagramBehindRapidApi(RapidApiSource):
    errors = (*GATEWAY_ERRORS, *PASSED_THROUGH, *BY_STATUS)

"""Instagram behind the RapidAPI gateway: Instagram's own refusals are passed through."""

from beat_actors.platforms.instagram.payloads import PASSED_THROUGH, WITHOUT_CONTACTS, is_refusal
from beat_actors.platforms.interface import Answer
from beat_actors.platforms.rapidapi import BY_STATUS, GATEWAY_ERRORS, RapidApiSource


class InstagramBehindRapidApi(RapidApiSource):
    errors = (*GATEWAY_ERRORS, *PASSED_THROUGH, *BY_STATUS)
    keeps = WITHOUT_CONTACTS

    def is_error(self, answer: Answer) -> bool:
        return super().is_error(answer) or is_refusal(answer.body)

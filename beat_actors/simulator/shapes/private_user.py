"""A user as Instagram's private API gives it, key by key as recorded (some 5 kB)."""

from typing import Any

from beat_actors.simulator.population import Person
from beat_actors.simulator.provider import World
from beat_actors.simulator.shapes.urls import avatar

FUNDRAISER: dict[str, Any] = {
    "is_facebook_onboarded_charity": False,
    "has_active_fundraiser": False,
    "consumption_sheet_config": {
        "can_viewer_donate": False,
        "currency": None,
        "donation_url": None,
        "privacy_disclaimer": None,
        "donation_disabled_message": "You can't create donations right now. Please try again later.",
        "donation_amount_config": {
            "donation_amount_selector_values": [],
            "default_selected_donation_value": None,
            "minimum_donation_amount": None,
            "maximum_donation_amount": None,
            "prefill_amount": None,
            "user_currency": None,
        },
        "you_donated_message": None,
        "profile_fundraiser_id": None,
        "has_viewer_donated": None,
    },
}

SAME_FOR_ALL: dict[str, Any] = {
    "follow_friction_type": 0,
    "has_anonymous_profile_picture": False,
    "following_tag_count": 0,
    "total_igtv_videos": 0,
    "has_igtv_series": False,
    "has_videos": True,
    "total_clips_count": 1,
    "total_ar_effects": 0,
    "is_favorite": False,
    "is_interest_account": True,
    "mutual_followers_count": 1,
    "profile_context": "Followed by creator_000001",
    "profile_context_links_with_user_ids": [{"start": 12, "end": 26, "username": "creator_000001"}],
    "profile_context_mutual_follow_ids": [10000026919],
    "has_highlight_reels": True,
    "has_guides": False,
    "show_shoppable_feed": False,
    "shoppable_posts_count": 0,
    "can_be_reported_as_fraud": False,
    "merchant_checkout_style": "none",
    "seller_shoppable_feed_type": "none",
    "num_visible_storefront_products": 0,
    "storefront_attribution_username": None,
    "has_active_affiliate_shop": False,
    "creator_shopping_info": {"linked_merchant_accounts": []},
    "is_eligible_for_smb_support_flow": True,
    "displayed_action_button_partner": None,
    "smb_delivery_partner": None,
    "smb_support_delivery_partner": None,
    "smb_get_quote_partner": None,
    "displayed_action_button_type": "",
    "direct_messaging": "UNKNOWN",
    "fb_page_call_to_action_id": "",
    "address_street": "",
    "business_contact_method": "",
    "city_id": 0,
    "city_name": "",
    "contact_phone_number": "",
    "is_call_to_action_enabled": False,
    "latitude": 0.0,
    "longitude": 0.0,
    "public_email": "",
    "public_phone_country_code": "",
    "public_phone_number": "",
    "zip": "",
    "instagram_location_id": "",
    "is_business": True,
    "professional_conversion_suggested_account_type": 3,
    "can_hide_category": True,
    "can_hide_public_contacts": True,
    "should_show_category": False,
    "should_show_public_contacts": False,
    "is_facebook_onboarded_charity": False,
    "has_active_charity_business_profile_fundraiser": False,
    "account_badges": [],
    "pronouns": [],
    "include_direct_blacklist_status": True,
    "is_potential_business": True,
    "show_post_insights_entry_point": True,
    "request_contact_enabled": False,
    "is_bestie": False,
    "has_unseen_besties_media": False,
    "show_account_transparency_details": False,
    "auto_expand_chaining": False,
    "highlight_reshare_disabled": False,
    "is_memorialized": False,
    "open_external_url_with_in_app_browser": True,
}


def full_user(world: World, person: Person, *, pk_as_text: bool = False) -> dict[str, Any]:
    """What `users/{id}/info/` gives. A pk is a number in older recordings and a string in newer ones."""
    pk: int | str = str(person.pk) if pk_as_text else person.pk
    return {
        "pk": pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.is_private,
        "profile_pic_url": avatar(world, person, 150),
        "profile_pic_id": f"{int(person.digest[:15], 16)}_{person.pk}",
        "is_verified": person.is_verified,
        "media_count": person.posts,
        "follower_count": person.followers,
        "following_count": person.following,
        "biography": person.biography,
        "external_url": person.website,
        "external_lynx_url": f"https://l.instagram.com/?u=https%3A%2F%2Fwww.example.com%2F{person.handle}&e=AT{person.digest}&s=1",
        "usertags_count": person.posts * 3,
        "hd_profile_pic_versions": [
            {"width": size, "height": size, "url": avatar(world, person, size)} for size in (320, 640)
        ],
        "hd_profile_pic_url_info": {"url": avatar(world, person, 1080), "width": 1080, "height": 1080},
        "category": person.category,
        "account_type": person.account_type,
        "interop_messaging_user_fbid": person.fbid,
        "charity_profile_fundraiser_info": {"pk": pk, **FUNDRAISER},
        **SAME_FOR_ALL,
    }


def short_user(world: World, person: Person, *, pk_as_text: bool = False) -> dict[str, Any]:
    """A user inside a media object."""
    return {
        "pk": str(person.pk) if pk_as_text else person.pk,
        "username": person.handle,
        "full_name": person.full_name,
        "is_private": person.is_private,
        "profile_pic_url": avatar(world, person, 150),
        "profile_pic_id": f"{int(person.digest[:15], 16)}_{person.pk}",
        "friendship_status": {
            "following": False,
            "outgoing_request": False,
            "is_bestie": False,
            "is_restricted": False,
            "is_feed_favorite": False,
        },
        "is_verified": person.is_verified,
        "follow_friction_type": 0,
        "has_anonymous_profile_picture": False,
        "is_unpublished": False,
        "is_favorite": False,
        "latest_reel_media": 0,
        "has_highlight_reels": True,
    }

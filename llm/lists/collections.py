"""Closed collections of names, and what is true of their members.

Source: common knowledge, written down for this project: member states of the United Nations under their short English
names by continent (of two continents, that of the United Nations' geoscheme), the states of the United States, months.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType


def _names(text: str) -> tuple[str, ...]:
    return tuple(" ".join(name.split()) for name in text.split(";"))


COUNTRIES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "Africa": _names(
            "Algeria; Angola; Benin; Botswana; Burkina Faso; Burundi; Cabo Verde; Cameroon; Central African Republic; "
            "Chad; Comoros; Congo; Democratic Republic of the Congo; Djibouti; Egypt; Equatorial Guinea; Eritrea; "
            "Eswatini; Ethiopia; Gabon; Gambia; Ghana; Guinea; Guinea-Bissau; Ivory Coast; Kenya; Lesotho; Liberia; "
            "Libya; Madagascar; Malawi; Mali; Mauritania; Mauritius; Morocco; Mozambique; Namibia; Niger; Nigeria; "
            "Rwanda; Sao Tome and Principe; Senegal; Seychelles; Sierra Leone; Somalia; South Africa; South Sudan; "
            "Sudan; Tanzania; Togo; Tunisia; Uganda; Zambia; Zimbabwe"
        ),
        "Asia": _names(
            "Afghanistan; Armenia; Azerbaijan; Bahrain; Bangladesh; Bhutan; Brunei; Cambodia; China; Cyprus; Georgia; "
            "India; Indonesia; Iran; Iraq; Israel; Japan; Jordan; Kazakhstan; Kuwait; Kyrgyzstan; Laos; Lebanon; "
            "Malaysia; Maldives; Mongolia; Myanmar; Nepal; North Korea; Oman; Pakistan; Philippines; Qatar; "
            "Saudi Arabia; Singapore; South Korea; Sri Lanka; Syria; Tajikistan; Thailand; Timor-Leste; Turkey; "
            "Turkmenistan; United Arab Emirates; Uzbekistan; Vietnam; Yemen"
        ),
        "Europe": _names(
            "Albania; Andorra; Austria; Belarus; Belgium; Bosnia and Herzegovina; Bulgaria; Croatia; Czechia; Denmark; "
            "Estonia; Finland; France; Germany; Greece; Hungary; Iceland; Ireland; Italy; Latvia; Liechtenstein; "
            "Lithuania; Luxembourg; Malta; Moldova; Monaco; Montenegro; Netherlands; North Macedonia; Norway; Poland; "
            "Portugal; Romania; Russia; San Marino; Serbia; Slovakia; Slovenia; Spain; Sweden; Switzerland; Ukraine; "
            "United Kingdom"
        ),
        "North America": _names(
            "Antigua and Barbuda; Bahamas; Barbados; Belize; Canada; Costa Rica; Cuba; Dominica; Dominican Republic; "
            "El Salvador; Grenada; Guatemala; Haiti; Honduras; Jamaica; Mexico; Nicaragua; Panama; "
            "Saint Kitts and Nevis; Saint Lucia; Saint Vincent and the Grenadines; Trinidad and Tobago; United States"
        ),
        "South America": _names(
            "Argentina; Bolivia; Brazil; Chile; Colombia; Ecuador; Guyana; Paraguay; Peru; Suriname; Uruguay; Venezuela"
        ),
        "Oceania": _names(
            "Australia; Fiji; Kiribati; Marshall Islands; Micronesia; Nauru; New Zealand; Palau; Papua New Guinea; "
            "Samoa; Solomon Islands; Tonga; Tuvalu; Vanuatu"
        ),
    }
)
OTHER_NAMES: Mapping[str, str] = MappingProxyType(  # of the same country
    {
        "Cape Verde": "Cabo Verde",
        "Republic of the Congo": "Congo",
        "DR Congo": "Democratic Republic of the Congo",
        "Swaziland": "Eswatini",
        "Cote d'Ivoire": "Ivory Coast",
        "C\u00f4te d'Ivoire": "Ivory Coast",
        "S\u00e3o Tom\u00e9 and Pr\u00edncipe": "Sao Tome and Principe",
        "Burma": "Myanmar",
        "East Timor": "Timor-Leste",
        "T\u00fcrkiye": "Turkey",
        "Czech Republic": "Czechia",
        "Great Britain": "United Kingdom",
        "UK": "United Kingdom",
        "United States of America": "United States",
        "USA": "United States",
    }
)
STATES = _names(
    "Alabama; Alaska; Arizona; Arkansas; California; Colorado; Connecticut; Delaware; Florida; Georgia; Hawaii; Idaho; "
    "Illinois; Indiana; Iowa; Kansas; Kentucky; Louisiana; Maine; Maryland; Massachusetts; Michigan; Minnesota; "
    "Mississippi; Missouri; Montana; Nebraska; Nevada; New Hampshire; New Jersey; New Mexico; New York; "
    "North Carolina; North Dakota; Ohio; Oklahoma; Oregon; Pennsylvania; Rhode Island; South Carolina; South Dakota; "
    "Tennessee; Texas; Utah; Vermont; Virginia; Washington; West Virginia; Wisconsin; Wyoming"
)
MONTHS: Mapping[str, int] = MappingProxyType(  # days in a common year
    {
        "January": 31,
        "February": 28,
        "March": 31,
        "April": 30,
        "May": 31,
        "June": 30,
        "July": 31,
        "August": 31,
        "September": 30,
        "October": 31,
        "November": 30,
        "December": 31,
    }
)

#!/usr/bin/env python3
"""Builds config/prices.json, the price book inside the binary, from a merged price catalogue.

    python3 config/build/prices.py CATALOGUE/prices.json [config/prices.json]

The result depends on nothing but the catalogue: no network, no clock. One model a line, sorted by name, so
that a price change is one line of a diff. `version` is the catalogue's date and a hash of the result.

Kept for each model (a field that is not there is unknown, and unknown is never zero; an explicit zero stays zero):
  model                            PROVIDER/ID, the catalogue's names; only the first slash divides
  mode                             the catalogue's word; absent is `chat`
  context context_total max_output cache_min   tokens: prompt window, prompt + answer, answer, shortest cached prefix
  released retires status          dates and words of the catalogue
  caps endpoints                   what the model can do; the paths where it is served, without /v1/
  rates                            all that a charge needs, as clauses divided by "; " (read by src/domain/price/row.rs):
      base RATES                       USD per 1,000,000 tokens, in force since the last `past` ended: `input 4 output 20`;
                                       `> 272000 input 8` begins the tier above that many prompt tokens, for all tokens
      batch|flex|priority|ultrafast RATES   rate cards of service tiers
      peak HH:MM-HH:MM .. days N-N [offset H holidays DAY ..]; off_peak RATES
                                       the clause before it holds in these hours (UTC) of these weekdays (1 is Monday),
                                       unless the day at H hours from UTC is a holiday; else these rates
      past INSTANT RATES               rates until that instant, oldest first
      times NAME FACTOR ..             multipliers geo.*, residency.*, regional, speed.*
      fees NAME USD ..                 see below
      sold_by UNIT                     the unit it is sold by, where tokens, seconds and searches do not say the price
  source past_sources              keys into `sources`: of the prices, and of each `past`
  agrees conflicts                 how many other catalogues say the same; those that do not

Fees, USD for one unit:
  search  search_request           a web search, or all web searches of one request (Gemini before 3: "per 1,000
                                   grounded prompts", https://ai.google.dev/gemini-api/docs/pricing). Where the
                                   catalogue knows a free quota, the row says `search_free`: it is shared by a whole
                                   project, so that nobody but the provider knows whether it is used up, and a charge
                                   takes the full fee.
  maps  query                      a Google Maps query, a rerank search unit
  hour                             an hour of audio. The catalogue has seconds, some cut off after six or more digits
                                   (0.000283333333333, 0.0000583333); the published prices are per minute or hour, and
                                   the hour is the price to a tenth of a cent, if the lost digits allow it.
  code_session web_fetch mcp       tools of the provider, in the head under `tools`; from TOOLS below and the
                                   catalogue's pseudo-model `container`
  image_in image_out char_in page page_annotated   facts only, as `per` of the row: usage does not count them

Changed on the way:
  * `inference_geo.X`, `data_residency.X`, `regional_endpoint` become geo.X, residency.X, regional.
  * Batch rates that a model's card leaves out are the standard ones times its batch_multiplier, where that is exactly
    0.5 (the documented discount). Other multipliers are rounded quotients and are not used.
  * History of Claude models names the five minute write `cache_write`; it becomes `cache_write_5m`.
  * The last entry of a history is what is in force now; where it differs from `prices`, `prices` stand (the catalogue's
    own choice; its `conflicts` name the sources that differ).
  * DeepSeek's history lists off-peak rates for the time since the peak schedule began; those entries become peak rates
    (times the schedule's multiplier) with the listed ones off peak. The schedule of 2025 cuts its periods alike.
    LiteLLM's own `off_peak.windows` know no holidays, so the schedule of the same provider takes their place. After
    the last day that a schedule's holidays cover, every weekday counts as a working day: the dearer reading.

Dropped:
  * Bedrock's commitments (only `per_second`): capacity rented by the month, not a price of a request.
  * `container` (a pseudo-model): its fee becomes `code_session` in the head.
  * Rows of one image size and quality ("hd/1024-x-1024/dall-e-3"): no model ids, and usage counts no images.
  * service tier `decisions`: the price of the endpoint /v1/decisions, no tier that a response names.
  * `reasoning_out`: equals `output` in every row; the script stops if that ever changes.
  * `per_second_out`: repeats `per_second_in` or token prices (whisper-1: 0.006 a minute once, not twice).
  * `per_audio_second_in` and `per_query` of embedding models: several units in one call, which usage does not tell
    apart; the model is `sold_by` media. Schedules of providers without models here (alibaba).
"""

import hashlib
import json
import re
import sys
from datetime import date, timedelta
from decimal import Decimal

ORDER = [
    "input", "output", "cache_read", "cache_write", "cache_write_5m", "cache_write_1h", "cache_write_12h", "audio_in",
    "audio_out", "audio_cache_read", "audio_cache_write", "image_in", "image_out", "image_cache_read", "video_in",
    "video_out",
]
RATES = set(ORDER)
SERVICES = ["batch", "flex", "priority", "ultrafast"]
FACTS = {
    "per_image_in": "image_in", "per_image_out": "image_out", "per_char_in": "char_in", "per_page": "page",
    "per_page_annotated": "page_annotated",
}
# Catalogue keys of one image size and quality, such as "low/1024-x-1024/gpt-image-1": no model that can be asked for.
SIZED = re.compile(r"\d+-x-\d+")
# Tools that providers document as free of a fee of their own; their tokens are billed as any other.
TOOLS = {
    "anthropic": ("web_fetch", "https://platform.claude.com/docs/en/agents-and-tools/tool-use/web-fetch-tool"),
    "openai": ("mcp", "https://platform.openai.com/docs/guides/tools-remote-mcp"),
}
SOLD_BY_MODE = {
    "image_generation": "image", "image_edit": "image", "audio_speech": "character", "ocr": "page",
    "audio_transcription": "second", "realtime": "second",
}


def plain(number):
    """A decimal as text, without an exponent or needless zeros."""
    text = format(Decimal(number).normalize(), "f")
    assert not text.startswith("-"), f"negative price {number}"
    return text


def card_of(raw, where):
    """A rate card: the known rates, and its tiers."""
    unknown = set(raw) - RATES - {"tiers", "reasoning_out", "from", "source", "basis", "windows"}
    assert not unknown, f"{where}: unknown rates {unknown}"
    assert raw.get("reasoning_out", raw.get("output")) == raw.get("output") or "output" not in raw, where
    card = {"prices": {key: plain(raw[key]) for key in sorted(RATES & set(raw))}}
    tiers = []
    for tier in sorted(raw.get("tiers") or [], key=lambda tier: tier["above_input_tokens"]):
        rates = {key: value for key, value in tier.items() if key != "above_input_tokens"}
        tiers.append({"above": tier["above_input_tokens"], **card_of(rates, where)["prices"]})
    return {**card, "tiers": tiers} if tiers else card


def times(card, factor):
    """A rate card with every rate multiplied."""
    scaled = lambda rates: {k: v if k == "above" else plain(Decimal(v) * factor) for k, v in rates.items()}
    result = {"prices": scaled(card["prices"])}
    if "tiers" in card:
        result["tiers"] = [scaled(tier) for tier in card["tiers"]]
    return result


def words(rates):
    return " ".join(f"{key} {rates[key]}" for key in ORDER if key in rates)


def text_of(card):
    """A rate card as a clause's text."""
    tiers = "".join(f" > {tier['above']} {words(tier)}" for tier in card.get("tiers", []))
    return (words(card["prices"]) + tiers).strip()


def peak_text(shape, off_peak):
    holidays = f" offset {shape['offset_hours']} holidays {' '.join(shape['holidays'])}" if "holidays" in shape else ""
    return [f"peak {' '.join(shape['peak'])} days 1-{len(shape['days'])}{holidays}", f"off_peak {text_of(off_peak)}"]


def batch_filled(batch, standard):
    """A batch card whose gaps are half the standard rates."""
    half = times(standard, Decimal("0.5"))
    filled = {"prices": {**half["prices"], **batch["prices"]}}
    tiers = {tier["above"]: dict(tier) for tier in half.get("tiers", [])}
    for tier in batch.get("tiers", []):
        tiers[tier["above"]] = {**tiers.get(tier["above"], {}), **tier}
    if tiers:
        filled["tiers"] = [tiers[above] for above in sorted(tiers)]
    return filled


def services_of(model, standard):
    cards = {}
    for name in SERVICES:
        raw = (model.get("service_tiers") or {}).get(name)
        if raw is None:
            continue
        card = card_of(raw, model["id"])
        if name == "batch" and model.get("batch_multiplier") == "0.5":
            card = batch_filled(card, standard)
        cards[name] = card
    unknown = set(model.get("service_tiers") or {}) - set(SERVICES) - {"decisions"}
    assert not unknown, f"{model['id']}: unknown service tiers {unknown}"
    return cards


def schedule_of(entry, holidays):
    """Peak hours as one shape: minutes are `HH:MM-HH:MM` UTC, days 1 (Monday) to 7, holidays at an offset from UTC."""
    if "peak_hours_utc" in entry:
        peak = ["-".join(pair) for pair in entry["peak_hours_utc"]]
    else:
        (pair,) = entry["off_peak_hours_utc"]
        peak = [f"{pair[1]}-{pair[0]}"]
    result = {"peak": peak, "days": [1, 2, 3, 4, 5] if entry.get("weekdays_only") else [1, 2, 3, 4, 5, 6, 7]}
    if "holidays" in entry:
        known = holidays[entry["holidays"]]
        result["offset_hours"] = known["utc_offset_hours"]
        result["holidays"] = known["dates"]
    return result


def schedules_for(model, catalogue):
    """The peak schedules of a model: (from, until, factor of peak, factor off peak, schedule)."""
    found = []
    for entry in catalogue["schedules"]["schedule"]:
        if entry["provider"] != model["provider"]:
            continue
        multipliers = entry.get("off_peak_multiplier")
        if multipliers is not None and model["id"] not in multipliers:
            continue
        if multipliers is None and not model.get("off_peak"):
            continue
        off = Decimal(str(multipliers[model["id"]])) if multipliers else Decimal(1)
        peak = Decimal(str(entry.get("peak_multiplier", 1)))
        shape = schedule_of(entry, catalogue["schedules"]["holidays"])
        found.append((entry["valid_from"], entry.get("valid_until") or "9999", peak, off, shape))
    return found


def past_of(model, catalogue, sources):
    """Dated rate cards that are no longer in force, oldest first, as clauses; and the keys of their sources."""
    history = model.get("history") or []
    schedules = schedules_for(model, catalogue)
    starts = [entry["from"] or "" for entry in history]
    assert starts == sorted(starts), model["id"]
    cuts = {start for start in starts}
    for begin, end, *_ in schedules:
        cuts |= {edge for edge in (begin, end) if edge != "9999" and edge < starts[-1]} if starts else set()
    cuts = sorted(cuts)
    claude = "cache_write_5m" in model["prices"]
    clauses, keys = [], []
    for begin, end in zip(cuts, cuts[1:]):
        entry = [entry for entry, start in zip(history, starts) if start <= begin][-1]
        card, peak_clauses = card_of(claude_writes(entry) if claude else entry, model["id"]), []
        for since, until, peak, off, shape in schedules:
            if since <= begin < until:
                peak_clauses = peak_text(shape, times(card, off))
                card = times(card, peak)
        clauses += [f"past {end} {text_of(card)}", *peak_clauses]
        keys.append(sources.key(entry["source"]))
    return clauses, keys


def claude_writes(entry):
    renamed = {"cache_write_5m" if key == "cache_write" else key: value for key, value in entry.items()}
    if "tiers" in renamed:
        renamed["tiers"] = [claude_writes(tier) for tier in renamed["tiers"]]
    return renamed


def hour_of(second):
    """The exact price of an hour behind a price of a second that may have been cut off."""
    exact = Decimal(second) * 3600
    hour = round(exact, 3)
    lost = Decimal(3600).scaleb(Decimal(second).as_tuple().exponent)
    assert exact == hour or abs(exact - hour) < lost, f"no round hour in {second}"
    return plain(hour)


def fees_of(model):
    raw = model.get("fees") or {}
    fees = {}
    if "web_search_per_call" in raw:
        gemini = model["provider"] in ("google", "vertex") and "claude" not in model["id"]
        by_request = gemini and raw.get("web_search_unit") != "per_query"
        fees["search_request" if by_request else "search"] = plain(raw["web_search_per_call"])
    if "per_maps_query" in raw:
        fees["maps"] = plain(raw["per_maps_query"])
    if "per_query" in raw and model["mode"] == "rerank":
        fees["query"] = plain(raw["per_query"])
    if "per_second_in" in raw:
        fees["hour"] = hour_of(raw["per_second_in"])
    return fees


def facts_of(model):
    """What is known about its fees that no charge uses."""
    raw = model.get("fees") or {}
    free = raw.get("web_search_free")
    return {
        "per": " ".join(f"{name} {plain(raw[key])}" for key, name in FACTS.items() if key in raw),
        "search_free": f"{free['count']} a {free['period']} for {free['shared_group']}" if free else None,
    }


def sold_by(model, fees):
    """The unit of sale, if neither tokens nor a fee that usage can count say what a call costs."""
    if any(Decimal(price) for price in model["prices"].values()) or {"hour", "query"} & set(fees):
        return None
    raw = {key for key, value in (model.get("fees") or {}).items() if key.startswith("per_") and Decimal(value)}
    if model["mode"] in SOLD_BY_MODE:
        return SOLD_BY_MODE[model["mode"]]
    units = {"per_query": "media", "per_image_out": "item", "per_image_in": "item", "per_char_in": "character"}
    for key, unit in units.items():
        if key in raw:
            return unit
    assert not raw - {"per_maps_query"}, f"{model['id']}: sold by {raw}"
    return None


def multipliers_of(model):
    names = {"inference_geo.": "geo.", "data_residency.": "residency.", "speed.": "speed."}
    result = {}
    for key, value in (model.get("multipliers") or {}).items():
        if key == "regional_endpoint":
            result["regional"] = plain(value)
            continue
        (old,) = [old for old in names if key.startswith(old)]
        result[names[old] + key.removeprefix(old)] = plain(value)
    return dict(sorted(result.items()))


class Sources:
    """URLs and bases, each named by a few letters of its hash so that a new one moves no other line."""

    def __init__(self):
        self.known = {}

    def key(self, text):
        name = hashlib.sha256(text.encode()).hexdigest()[:6]
        assert self.known.setdefault(name, text) == text, f"two sources share the key {name}"
        return name


def rates_of(model, past, catalogue):
    """All that a charge needs, as text."""
    standard = card_of({**model["prices"], "tiers": model.get("tiers")}, model["id"])
    fees = fees_of(model)
    clauses = [f"base {text_of(standard)}".strip()]
    if model.get("off_peak"):
        (shape,) = [shape for _, until, _, _, shape in schedules_for(model, catalogue) if until == "9999"]
        clauses += peak_text(shape, card_of(model["off_peak"], model["id"]))
    clauses += [f"{name} {text_of(card)}" for name, card in services_of(model, standard).items()]
    clauses += past
    for name, pairs in (("times", multipliers_of(model)), ("fees", fees)):
        if pairs:
            clauses.append(f"{name} " + " ".join(f"{key} {value}" for key, value in pairs.items()))
    unit = sold_by(model, fees)
    return "; ".join(clauses + ([f"sold_by {unit}"] if unit else []))


def row_of(model, catalogue, sources):
    past, past_sources = past_of(model, catalogue, sources)
    row = {
        "model": f"{model['provider']}/{model['id']}", "mode": model["mode"] if model["mode"] != "chat" else None,
        "context": model.get("context_window"), "context_total": model.get("context_window_total"),
        "max_output": model.get("max_output"), "cache_min": model.get("cache_min_tokens"),
        "caps": " ".join(model.get("caps") or []),
        "endpoints": " ".join(path.removeprefix("/v1/") for path in model.get("endpoints") or []),
        "rates": rates_of(model, past, catalogue),
        "released": model.get("release_date"), "retires": model.get("deprecation_date"), "status": model.get("status"),
        **facts_of(model),
        "source": sources.key(model["source"].get("url") or model["source"]["basis"]),
        "past_sources": " ".join(past_sources),
        "agrees": len(model["source"].get("agrees") or []) or None,
        "conflicts": " ".join(model["source"].get("conflicts") or []),
    }
    return {key: value for key, value in row.items() if value not in (None, "")}


def wanted(model):
    fees = set(model.get("fees") or {})
    commitment = "per_second" in fees and not model["prices"]
    return not commitment and model["id"] != "container" and not SIZED.search(model["id"])


def check_holidays(catalogue):
    for known in catalogue["schedules"]["holidays"].values():
        days = [date.fromisoformat(day) for day in known["dates"]]
        assert days == sorted(days) and days[-1] <= date.fromisoformat(known["covers_through"]) + timedelta(days=1)


def build(catalogue):
    assert catalogue["schema"] == 1 and catalogue["currency"] == "USD"
    check_holidays(catalogue)
    sources = Sources()
    tools = {provider: {tool: ("0", url)} for provider, (tool, url) in TOOLS.items()}
    for model in catalogue["models"]:
        if model["id"] == "container":
            basis = f"{model['source']['basis']}: {model['source']['key']}"
            fee = plain(model["fees"]["per_code_session"])
            tools.setdefault(model["provider"], {})["code_session"] = (fee, model["source"].get("url") or basis)
    models = sorted((m for m in catalogue["models"] if wanted(m)), key=lambda m: f"{m['provider']}/{m['id']}".encode())
    compact = lambda value: json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    lines = [compact(row_of(model, catalogue, sources)) for model in models]
    assert not any("\\" in line for line in lines), "an escape: the reader borrows its text"
    told = lambda about: about.get("version") or about.get("via") or about.get("commit")
    head = {
        "schema": 1, "generated": catalogue["generated"],
        "catalogues": {name: f"{told(about)} ({about.get('licence', 'MIT')})"
                       for name, about in catalogue["sources"].items()},
        "tools": {name: " ".join(f"{tool} {usd}" for tool, (usd, _) in sorted(tools[name].items()))
                  for name in sorted(tools)},
        "tool_sources": {name: [url for _, (_, url) in sorted(tools[name].items())] for name in sorted(tools)},
        "sources": dict(sorted(sources.known.items())),
    }
    digest = hashlib.sha256("\n".join([compact(head), *lines]).encode()).hexdigest()[:8]
    head = {"version": f"{catalogue['generated']}-{digest}", **head}
    head_text = compact(head).replace('{"', '{\n"').replace('","', '",\n"')
    return f'{{"head":{head_text},\n"models":[\n' + ",\n".join(lines) + "\n]}\n"


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__.splitlines()[2].strip())
    with open(sys.argv[1], encoding="utf-8") as file:
        catalogue = json.load(file)
    with open(sys.argv[2] if len(sys.argv) == 3 else "config/prices.json", "w", encoding="utf-8", newline="\n") as file:
        file.write(build(catalogue))


if __name__ == "__main__":
    main()

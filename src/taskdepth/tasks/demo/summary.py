"""Cluster summarization: a few sentences become one line."""

from __future__ import annotations

from random import Random

from taskdepth.tasks.demo.english import listing, plural
from taskdepth.tasks.demo.lexicon import CITIES, DAYS, KINDS, PEOPLE, two_people
from taskdepth.tasks.demo.task import Draw, generation

CLUSTER = "summarization"

_BUILDINGS = ("bakery", "library", "museum", "school", "station", "theatre", "zoo")
_OUTINGS = ("beach", "farm", "harbour", "market", "museum", "theatre", "zoo")
_EVENTS = {
    "A big fire broke out at the {place} in {city}. Nobody was hurt, but the roof is gone.":
        "Fire at the {place} in {city}",
    "A thief came to the {place} in {city} at night. The police look for a tall man with a bag.":
        "Thief visits the {place} in {city}",
    "After a year of work, the {place} in {city} is open again. Hundreds of people came.":
        "The {place} in {city} opens again",
    "A strong storm came to {city}. Trees fell on the {place}, and the lamps went out.":
        "Storm hits the {place} in {city}",
    "The {place} in {city} has lost too much money. It will close, and the workers must go.":
        "The {place} in {city} will close",
}  # fmt: skip


def news(rng: Random) -> Draw:
    article, headline = rng.choice(list(_EVENTS.items()))
    where = {"place": rng.choice(_BUILDINGS), "city": rng.choice(CITIES)}
    day = rng.choice(DAYS)
    return Draw({"article": f"{day}. {article.format(**where)}"}, target=headline.format(**where))


_MAILS = {
    "Meeting": "we have to talk about the new plan. Can we meet on {day}?",
    "Dinner": "I want to cook for you and your family. Are you free on {day}?",
    "Train": "I will come by train and need a bed. Can you fetch me on {day}?",
    "Party": "it is my birthday, and there will be music and cake. Please come on {day}.",
    "Football": "our team needs one more player. Do you want to play on {day}?",
}


def email(rng: Random) -> Draw:
    sender, receiver = two_people(rng)
    (subject, body), day = rng.choice(list(_MAILS.items())), rng.choice(DAYS)
    return Draw(
        {"email": f"Dear {receiver.name}, {body.format(day=day)} Best wishes, {sender.name}"},
        target=f"{subject} on {day}",
    )


def dialogue(rng: Random) -> Draw:
    """The second speaker agrees to go, or prefers another day."""
    (one, two), venue, (day, other) = two_people(rng), rng.choice(_OUTINGS), rng.sample(DAYS, 2)
    agrees = rng.random() < 0.5
    reply = "That is a good idea." if agrees else f"I have to work. What about {other}?"
    end = "See you there!" if agrees else "That is fine."
    return Draw(
        {
            "dialogue": f"{one.name}: Shall we go to the {venue} on {day}?\n"
            f"{two.name}: {reply}\n{one.name}: {end}"
        },
        target=f"{one.name} and {two.name} go to the {venue} on {day if agrees else other}.",
    )


_ASPECTS = ("beds", "meals", "prices", "rooms", "views", "waiters")
_LIKES = ("I loved the {x}.", "The {x} were great.", "What lovely {x}!")
_DISLIKES = ("I hated the {x}.", "The {x} were awful.", "What terrible {x}!")


def opinions(rng: Random) -> Draw:
    """Three reviews of one hotel: two agree on what is good, or on what is bad."""
    good, bad = rng.sample(_ASPECTS, 2)
    likes_twice = rng.random() < 0.5
    reviews = [text.format(x=good) for text in rng.sample(_LIKES, 2 if likes_twice else 1)]
    reviews += [text.format(x=bad) for text in rng.sample(_DISLIKES, 1 if likes_twice else 2)]
    key = tuple(sorted(reviews))
    rng.shuffle(reviews)
    return Draw(
        {"reviews": "\n".join(reviews)},
        target=f"Guests like the {good} but not the {bad}.",
        key=key,
    )


def gist(rng: Random) -> Draw:
    """The kind stands for its members."""
    name, kind = rng.choice(PEOPLE).name, rng.choice(("flower", "fruit", "tool", "vegetable"))
    members = [plural(member) for member in rng.sample(KINDS[kind], 3)]
    venue, day = rng.choice(("farm", "harbour", "market")), rng.choice(DAYS)
    bought = "fruit" if kind == "fruit" else plural(kind)
    return Draw(
        {"diary": f"{day}. {name} went to the {venue} and bought {listing(members)}."},
        target=f"{name} bought {bought} at the {venue}.",
        key=(day, name, venue, *sorted(members)),
    )


TASKS = (
    generation(
        "demo_headline",
        CLUSTER,
        news,
        (
            "{article}\nWrite a headline.",
            "Article: {article}\nHeadline:",
            "What is the news in one line? {article}",
        ),
    ),
    generation(
        "demo_email_subject",
        CLUSTER,
        email,
        (
            "{email}\nWrite a subject line.",
            "Email: {email}\nSubject:",
            "What is this email about? {email}",
        ),
    ),
    generation(
        "demo_dialogue",
        CLUSTER,
        dialogue,
        (
            "{dialogue}\nWhat is the plan?",
            "Sum up the talk.\n{dialogue}",
            "{dialogue}\nSummary:",
        ),
    ),
    generation(
        "demo_opinions",
        CLUSTER,
        opinions,
        (
            "{reviews}\nWhat do the guests think?",
            "Sum up these hotel reviews.\n{reviews}",
            "{reviews}\nSummary:",
        ),
    ),
    generation(
        "demo_gist",
        CLUSTER,
        gist,
        (
            "{diary}\nSay it in short.",
            "Tell me without details: {diary}",
            "{diary}\nShort version:",
        ),
    ),
)

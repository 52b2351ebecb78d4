"""The order desk of a shop: short requests, each answered in one line that a program reads exactly.

A small real model is partly right, and a better harness makes it right more often: `make demo-real`. Four kinds of
requests: label a message, write an order as JSON, a date, a command. Half of the tasks of each kind are held out.
"""

import json
import random

from benchmark import BenchmarkRunner, Check, Result, Simulation

POLICY = "You are the order desk of a shop. Answer each request in one line, with the result alone."
_REQUESTS = {
    "label": "Label this message with one of the words complaint, refund, delivery, praise, question: ",
    "order": "Write this order as JSON with the keys item (in the singular), quantity, city: ",
    "date": "Write this date as YYYY-MM-DD: ",
    "command": "Answer this message with one of SHIP, CANCEL, HOLD, RETURN, and the number of the order: ",
}
PER_KIND = 24

_MESSAGES = {
    "complaint": ("The {} broke after one day.", "I am angry: the {} is scratched.", "The {} does not work at all."),
    "refund": (
        "I want my money back for the {}.",
        "Please pay me back what the {} cost.",
        "Refund the {} to my card.",
    ),
    "delivery": ("Where is the {} that I ordered?", "The {} has not arrived yet.", "When will the {} be delivered?"),
    "praise": ("The {} is wonderful, thank you!", "I love the {}, great work.", "Best {} that I ever had."),
    "question": ("Does the {} come in green?", "How heavy is the {}?", "Is the {} made of wood?"),
}
_ITEMS = {
    **{"lamps": "lamp", "chairs": "chair", "knives": "knife", "boxes": "box", "shelves": "shelf", "brushes": "brush"},
    **{"cups": "cup", "tables": "table", "candles": "candle", "dishes": "dish", "scarves": "scarf", "pens": "pen"},
}
_CITIES = ("Bergen", "Galway", "Ghent", "Lugano", "Porto", "Turku", "Vilnius", "Zadar")
_COMMANDS = {
    "SHIP": ("Please send out order {} today.", "Order {} can go out now.", "Dispatch order {}, please."),
    "CANCEL": (
        "I do not want order {} any more.",
        "Call off order {}.",
        "Stop order {} for good, I changed my mind.",
    ),
    "HOLD": ("Wait with order {} until I call again.", "Keep order {} back for a week.", "Do not send order {} yet."),
    "RETURN": (
        "Order {} came, and I am sending it back.",
        "I will bring order {} back.",
        "Take order {} back, please.",
    ),
}
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October")
_DATES = ("{day} {name} {year}", "{name} {day}, {year}", "the {day}th of {name} {year}", "{day}.{month}.{year}")

Task = tuple[str, str]
"""What is asked, and the right answer."""


def _label(chance: random.Random) -> Task:
    label = chance.choice(list(_MESSAGES))
    return chance.choice(_MESSAGES[label]).format(chance.choice(list(_ITEMS.values()))), label


def _order(chance: random.Random) -> Task:
    items, quantity, city = chance.choice(list(_ITEMS)), chance.randint(2, 60), chance.choice(_CITIES)
    asked = chance.choice(
        ("{n} {items} to {city}, please.", "We need {n} {items} in {city}.", "Send {city} {n} {items}.")
    )
    answer = {"item": _ITEMS[items], "quantity": quantity, "city": city}
    return asked.format(n=quantity, items=items, city=city), json.dumps(answer)


def _date(chance: random.Random) -> Task:
    day, month, year = chance.randint(13, 28), chance.randint(1, len(_MONTHS)), chance.randint(2019, 2029)
    text = chance.choice(_DATES).format(day=day, name=_MONTHS[month - 1], month=month, year=year)
    return text, f"{year}-{month:02}-{day:02}"


def _command(chance: random.Random) -> Task:
    command, number = chance.choice(list(_COMMANDS)), chance.randint(10_000, 99_999)
    return chance.choice(_COMMANDS[command]).format(number), f"{command} {number}"


KINDS = {"label": _label, "order": _order, "date": _date, "command": _command}


def _tasks() -> dict[str, Task]:
    chance, tasks = random.Random(1), {}
    for kind, make in KINDS.items():
        made: dict[str, str] = {}
        while len(made) < PER_KIND:
            asked, answer = make(chance)
            made.setdefault(_REQUESTS[kind] + asked, answer)
        tasks |= {f"{kind}-{number}": task for number, task in enumerate(made.items())}
    return tasks


TASKS = _tasks()


class OrderDesk(BenchmarkRunner):
    """Short requests to the order desk of a shop, each with one right answer. The reward is 1 if the agent's answer
    is exactly that: for an order, a JSON object with the same three values."""

    policy = POLICY

    def splits(self) -> dict[str, list[str]]:
        first_half = [name for name in TASKS if int(name.rpartition("-")[2]) < PER_KIND // 2]
        return {"train": first_half, "test": [name for name in TASKS if name not in first_half]}

    def simulate(self, simulation: Simulation) -> Result:
        asked, answer = TASKS[simulation.task_id]
        got = simulation.ask(asked).strip()
        right = _is_right(got, answer)
        return Result(float(right), [Check(f"the answer is {answer}", right, f"got: {got}")])

    def secrets(self) -> list[dict[str, str]]:
        return [{"asked": asked.rpartition(": ")[2]} for asked, _ in TASKS.values()]


def _is_right(got: str, answer: str) -> bool:
    if not answer.startswith("{"):
        return got == answer
    try:
        return bool(json.loads(got) == json.loads(answer))
    except (ValueError, RecursionError):
        return False

"""What is written in a drawn picture: papers, signs, labels and screens, with facts to ask for."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

from mmtrain.recipes.reading.words import Words, format_price

Surface = Literal["paper", "sign", "screen", "cover", "display"]


@dataclass(frozen=True)
class Line:
    """A line of text.

    Attributes:
        text: The text.
        size: Height relative to body text.
        right: Text at the right end of the line, such as a price.
        is_bold: Whether the text is bold.
        is_button: Whether a frame is around the text.
    """

    text: str
    size: float = 1.0
    right: str = ""
    is_bold: bool = False
    is_button: bool = False


@dataclass(frozen=True)
class Fact:
    """Something that is written in a document.

    Attributes:
        topic: A key of `questions.TOPICS`.
        value: The text in the picture.
        subject: What the question is about, such as the priced thing; "" if the topic suffices.
    """

    topic: str
    value: str
    subject: str = ""


@dataclass(frozen=True)
class Document:
    """The text of a drawn picture.

    Attributes:
        surface: What it is written on.
        lines: Its lines from the top.
        facts: What can be asked.
        is_centered: Whether the lines are centered.
        width: Characters of body text in a line.
    """

    surface: Surface
    lines: tuple[Line, ...]
    facts: tuple[Fact, ...]
    is_centered: bool = False
    width: int = 24


_SHOPS = ("Bakery", "Books", "Market", "Pharmacy", "Cafe", "Garage", "Hotel", "Bank", "Pizza",
          "Flowers", "Hardware", "Toys", "Shoes", "Optics", "Deli", "Stores")  # fmt: skip
_GOODS = ("Bread", "Milk", "Coffee", "Cheese", "Soap", "Paper", "Tea", "Rice", "Honey", "Butter",
          "Juice", "Sugar", "Flour", "Salt", "Jam", "Water", "Fish", "Oil")  # fmt: skip
_EVENTS = ("Concert", "Fair", "Festival", "Exhibition", "Race", "Market")
_DISHES = ("Tomato soup", "Fried fish", "Green salad", "Chicken curry", "Mushroom rice",
           "Apple pie", "Bean stew", "Noodle soup", "Lamb curry", "Ice cream",
           "Omelette")  # fmt: skip
_SIGNS = ("NO PARKING", "EXIT", "KEEP OUT", "WET PAINT", "OPEN", "CLOSED", "NO SMOKING", "PRIVATE",
          "TOILETS", "FOR SALE", "STAFF ONLY", "PLEASE RING THE BELL", "MIND THE STEP", "ENTRANCE",
          "BEWARE OF THE DOG", "NO SWIMMING", "RECEPTION", "TAXI", "SLOW DOWN", "OUT OF ORDER",
          "TICKETS", "LIFT", "INFORMATION", "NO FISHING", "KEEP LEFT", "ROAD CLOSED")  # fmt: skip
_HELD_OUT_SIGNS = ("DANGER HIGH VOLTAGE", "LIBRARY", "NO DOGS", "WAITING ROOM", "LOST PROPERTY",
                   "PLATFORM 4", "GIVE WAY", "DEAD END", "FIRE DOOR", "QUIET PLEASE")  # fmt: skip


def _receipt(words: Words) -> Document:
    shop, currency = f"{words.name()} {words.rng.choice(_SHOPS)}", words.currency()
    goods = words.rng.sample(_GOODS, words.number(2, 5))
    prices = [words.cents(20) for _ in goods]
    total = format_price(sum(prices), currency)
    lines = [Line(shop, 1.4, is_bold=True)]
    facts = [Fact("shop", shop), Fact("total", total)]
    if words.rng.random() < 0.6:
        street = words.street()
        lines.append(Line(street))
        facts.append(Fact("address", street))
    if words.rng.random() < 0.5:
        phone = words.phone()
        lines.append(Line(f"Tel. {phone}"))
        facts.append(Fact("phone", phone))
    if words.rng.random() < 0.7:
        date = words.date()
        lines.append(Line(date, right=words.time()))
        facts.append(Fact("date", date))
    for thing, cents in zip(goods, prices, strict=True):
        price = format_price(cents, currency)
        lines.append(Line(thing, right=price))
        facts.append(Fact("price", price, thing.lower()))
    lines.append(Line(words.rng.choice(("TOTAL", "Total", "Amount due", "Sum")), 1.2, total, True))
    if words.rng.random() < 0.5:
        lines.append(Line(words.rng.choice(("Thank you!", "Please come again", "Paid by card"))))
    return Document("paper", tuple(lines), tuple(facts))


def _sign(words: Words) -> Document:
    text = words.rng.choice(_SIGNS) if words.rng.random() < 0.5 else words.title(words.number(1, 3))
    return _make_sign(text, words)


def _make_sign(text: str, words: Words) -> Document:
    if words.rng.random() < 0.3:
        text = text.upper() if words.rng.random() < 0.5 else text.capitalize()
    parts = text.split()
    middle = (len(parts) + 1) // 2
    rows = [text] if len(text) < 12 else [" ".join(parts[:middle]), " ".join(parts[middle:])]
    lines = tuple(Line(row, 2.0, is_bold=True) for row in rows if row)
    return Document("sign", lines, (Fact("sign", text),), True, max(map(len, rows)) * 2 + 4)


def _shop_front(words: Words) -> Document:
    shop = f"{words.name()}'s {words.rng.choice(_SHOPS)}" if words.number(0, 1) else words.title(2)
    lines = [Line(shop, 2.0, is_bold=True)]
    facts = [Fact("shop", shop)]
    if words.rng.random() < 0.4:
        hours = f"{words.number(7, 10)}:00 - {words.number(17, 22)}:00"
        lines.append(Line(f"Open {hours}"))
    if words.rng.random() < 0.4:
        phone = words.phone()
        lines.append(Line(phone))
        facts.append(Fact("phone", phone))
    return Document("sign", tuple(lines), tuple(facts), True, 2 * len(shop) + 3)


def _book(words: Words) -> Document:
    title, author = f"The {words.title(words.number(1, 3))}", words.full_name()
    lines = [Line(title, 1.6, is_bold=True), Line(""), Line(author)]
    if words.rng.random() < 0.3:
        lines.reverse()
    facts = (Fact("title", title), Fact("author", author))
    return Document("cover", tuple(lines), facts, True, int(1.7 * len(title)) + 4)


def _dialog_box(words: Words) -> Document:
    title, file = (
        words.title(words.number(1, 2)),
        f"{words.word()}.{words.rng.choice(('txt', 'pdf'))}",
    )
    message = words.rng.choice(
        (f"Cannot open {file}", f"Save changes to {file}?", f"Error {words.number(100, 599)}",
         f"{words.number(2, 99)} updates are ready", f"Delete {file}?", "The disk is full")
    )  # fmt: skip
    button = words.rng.choice(("OK", "Cancel", "Retry", "Close", "Continue", "Install"))
    lines = (Line(title, is_bold=True), Line(""), Line(message, 1.2), Line(""),
             Line(button, is_button=True))  # fmt: skip
    facts = (Fact("window", title), Fact("message", message), Fact("button", button))
    return Document("screen", lines, facts, width=int(1.3 * len(message)) + 4)


def _poster(words: Words) -> Document:
    event = f"{words.title(1)} {words.rng.choice(_EVENTS)}"
    date, place = (
        words.date(),
        f"{words.name()} {words.rng.choice(('Hall', 'Park', 'Museum', 'Arena'))}",
    )
    price, time = format_price(words.cents(40), words.currency()), words.time()
    lines = (Line(event, 1.8, is_bold=True), Line(date, 1.2), Line(f"Start {time}"), Line(place),
             Line(f"Tickets {price}"))  # fmt: skip
    facts = (Fact("event", event), Fact("date", date), Fact("time", time), Fact("place", place),
             Fact("ticket", price))  # fmt: skip
    kept = [0, *sorted(words.rng.sample(range(1, 5), words.number(2, 4)))]
    chosen = tuple(lines[n] for n in kept), tuple(facts[n] for n in kept)
    return Document("cover", *chosen, True, int(1.9 * len(event)) + 2)


def _card(words: Words) -> Document:
    person, company = (
        words.full_name(),
        f"{words.name()} {words.rng.choice(('Ltd', 'Inc', 'Group', 'AG'))}",
    )
    phone, street = words.phone(), words.street()
    mail = f"{person.split()[-1].lower()}@{words.word()}.{words.rng.choice(('com', 'org', 'net'))}"
    lines = (
        Line(person, 1.4, is_bold=True),
        Line(company),
        Line(""),
        Line(street),
        Line(phone),
        Line(mail),
    )
    facts = (Fact("person", person), Fact("company", company), Fact("address", street),
             Fact("phone", phone), Fact("mail", mail))  # fmt: skip
    return Document("paper", lines, facts, width=30)


def _clock(words: Words) -> Document:
    time = words.time()
    lines = [Line(time, 3.0, is_bold=True)]
    facts = [Fact("clock", time)]
    if words.rng.random() < 0.4:
        date = words.date()
        lines.append(Line(f"{words.day()}"))
        lines.append(Line(date))
        facts.append(Fact("date", date))
    return Document("display", tuple(lines), tuple(facts), True, 18)


def _price_tag(words: Words) -> Document:
    thing, price = words.rng.choice(_GOODS), format_price(words.cents(), words.currency())
    lines = [Line(thing, 1.3), Line(price, 2.0, is_bold=True)]
    return Document("paper", tuple(lines), (Fact("tag", price), Fact("product", thing)), True, 16)


def _page(words: Words) -> Document:
    heading = words.title(words.number(1, 3))
    body = [
        " ".join(words.word() for _ in range(words.number(4, 6))) for _ in range(words.number(2, 4))
    ]
    lines = (Line(heading, 1.5, is_bold=True), *(Line(line.capitalize()) for line in body))
    facts = [Fact("heading", heading), Fact("last_line", body[-1].capitalize())]
    return Document("paper", lines, tuple(facts), width=38)


def _letter(words: Words) -> Document:
    sender, receiver, date, city = words.full_name(), words.name(), words.date(), words.name()
    lines = (
        Line(sender, is_bold=True),
        Line(f"{words.street()}, {city}"),
        Line("", right=date),
        Line(""),
        Line(f"Dear {receiver},"),
        Line("thank you for your visit."),
        Line(""),
        Line(f"Invoice {words.number(1000, 9999)}"),
    )
    return Document("paper", lines, (Fact("date", date), Fact("sender", sender)), width=36)


def _direction(words: Words) -> Document:
    towns = [words.name() for _ in range(words.number(1, 3))]
    distances = [f"{words.number(2, 180)} km" for _ in towns]
    pairs = list(zip(towns, distances, strict=True))
    lines = tuple(Line(town, 1.4, distance, True) for town, distance in pairs)
    facts = tuple(Fact("distance", distance, town) for town, distance in pairs)
    return Document("sign", lines, facts if len(set(towns)) == len(towns) else (), width=26)


def _menu(words: Words) -> Document:
    name, currency = f"{words.title(1)} Restaurant", words.currency()
    dishes = [
        (dish, format_price(words.cents(30), currency)) for dish in words.rng.sample(_DISHES, 4)
    ]
    lines = [
        Line(name, 1.6, is_bold=True),
        Line("MENU"),
        *(Line(d, right=price) for d, price in dishes),
    ]
    facts = [Fact("shop", name), *(Fact("price", price, d.lower()) for d, price in dishes)]
    return Document("cover", tuple(lines), tuple(facts), width=30)


def _ticket(words: Words) -> Document:
    start, end, date, time = words.name(), words.name(), words.date(), words.time()
    price = format_price(words.cents(), words.currency())
    lines = (
        Line("TICKET", 1.4, is_bold=True),
        Line(f"From {start}"),
        Line(f"To {end}"),
        Line(date, right=time),
        Line("Price", right=price),
    )
    return Document("paper", lines, (Fact("date", date), Fact("time", time), Fact("ticket", price)))


def _phone_screen(words: Words) -> Document:
    person, message = words.full_name(), words.title(words.number(2, 4)).capitalize()
    lines = (
        Line(words.time(), right="LTE"),
        Line(""),
        Line(person, 1.3, is_bold=True),
        Line(message),
        Line(""),
        Line("Reply", is_button=True),
    )
    facts = (Fact("message", message), Fact("button", "Reply"), Fact("sender", person))
    return Document("screen", lines, facts, width=26)


def _held_out_sign(words: Words) -> Document:
    return _make_sign(words.rng.choice(_HELD_OUT_SIGNS), words)


Maker = Callable[[Words], Document]
TRAIN_MAKERS: tuple[Maker, ...] = (
    _receipt, _receipt, _sign, _sign, _sign, _shop_front, _shop_front, _book, _dialog_box, _poster,
    _card, _clock, _price_tag, _page, _letter, _direction,
)  # fmt: skip
HELD_OUT_MAKERS: tuple[Maker, ...] = (
    _menu, _ticket, _phone_screen, _held_out_sign, _receipt, _shop_front, _book,
)  # fmt: skip


def write_document(words: Words, *, held_out: bool) -> Document:
    """Write a random document; some kinds are kept for the held-out pictures."""
    document = words.rng.choice(HELD_OUT_MAKERS if held_out else TRAIN_MAKERS)(words)
    if not document.is_centered and words.rng.random() < 0.15:
        return replace(document, is_centered=not any(line.right for line in document.lines))
    return document

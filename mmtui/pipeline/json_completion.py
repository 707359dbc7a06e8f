"""The end of a JSON document that was cut off."""

import json

# What completes a text, an escape sequence, a number or a literal that was cut off.
_TOKENS = ("", '"', 'n"', '0000"', '000"', '00"', '0"', "0")
_LITERALS = ("true", "false", "null")
_TAILS = [*_TOKENS, *(word[at:] for word in _LITERALS for at in range(1, len(word)))]
# What follows it: nothing, a value, or a member of an object.
_ENDS = ("", ":null", "null", '"":null')


def find_json_end(text: str) -> str:
    """Return what makes the start of a JSON document a whole one; "" if it is one, or can't be.

    Brackets and texts are closed, and a value that is missing is null.
    """
    if not text.strip():
        return "null"
    brackets = _find_open_brackets(text)
    for tail in _TAILS:
        for end in _ENDS:
            completed = f"{tail}{end}{brackets}"
            try:
                json.loads(text + completed)
            except ValueError:
                continue
            return completed
    return ""


def _find_open_brackets(text: str) -> str:
    """Return the brackets that close those that are open at the end of a text."""
    closing: list[str] = []
    in_text = is_escaped = False
    for character in text:
        if in_text:
            if is_escaped:
                is_escaped = False
            elif character == "\\":
                is_escaped = True
            elif character == '"':
                in_text = False
        elif character == '"':
            in_text = True
        elif character in "{[":
            closing.append("}" if character == "{" else "]")
        elif character in "}]" and closing:
            closing.pop()
    return "".join(reversed(closing))

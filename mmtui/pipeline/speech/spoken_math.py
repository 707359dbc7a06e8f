"""Formulas in LaTeX as words, as far as they can be read aloud."""

import re

OMITTED = "formula omitted"
_MAX_LENGTH = 80  # nobody follows a longer formula by ear
_WORDS = {
    "alpha": "alpha", "beta": "beta", "gamma": "gamma", "delta": "delta", "epsilon": "epsilon",
    "theta": "theta", "lambda": "lambda", "mu": "mu", "pi": "pi", "rho": "rho", "sigma": "sigma",
    "tau": "tau", "phi": "phi", "omega": "omega", "infty": "infinity", "times": "times",
    "cdot": "times", "div": "divided by", "pm": "plus or minus", "leq": "is at most",
    "le": "is at most", "geq": "is at least", "ge": "is at least", "neq": "is not equal to",
    "ne": "is not equal to", "approx": "is about", "to": "to", "rightarrow": "to", "in": "in",
    "sum": "the sum of", "int": "the integral of", "log": "log", "ln": "ln", "sin": "sine",
    "cos": "cosine", "tan": "tangent", "circ": "degrees", "ldots": "and so on",
    "dots": "and so on", "quad": " ", "left": "", "right": "", "%": "percent",
}  # fmt: skip
_SYMBOLS = {
    "=": "equals", "+": "plus", "-": "minus", "*": "times", "/": "over", "<": "is less than",
    ">": "is greater than", "±": "plus or minus", "×": "times", "≤": "is at most",
    "≥": "is at least", "≈": "is about", "≠": "is not equal to",
}  # fmt: skip
_GROUP = r"\{([^{}]*)\}"
_STRUCTURES = (
    (re.compile(rf"\\(?:text|mathrm|mathbf|mathit|operatorname){_GROUP}"), r" \1 "),
    (re.compile(rf"\\[dt]?frac\s*{_GROUP}\s*{_GROUP}"), r" \1 over \2 "),
    (re.compile(rf"\\sqrt\s*{_GROUP}"), r" the square root of \1 "),
    (re.compile(rf"\^(?:{_GROUP}|(\w|\\circ))"), lambda match: _power(match[1] or match[2])),
    (re.compile(rf"_(?:{_GROUP}|(\w))"), lambda match: f" {match[1] or match[2]} "),
)


def read_formula(latex: str) -> str:
    """Return a formula in words, such as "x squared plus 1", or `OMITTED` if that is hard."""
    if len(latex) > _MAX_LENGTH:
        return OMITTED
    text, before = latex, ""
    while text != before:  # groups are replaced from the innermost outwards
        before = text
        for pattern, words in _STRUCTURES:
            text = pattern.sub(words, text)
    text = re.sub(r"\\([a-zA-Z]+|%)", lambda match: f" {_WORDS.get(match[1], match[0])} ", text)
    text = re.sub(r"\\[,;!: ]", " ", text)
    text = "".join(f" {_SYMBOLS[each]} " if each in _SYMBOLS else each for each in text)
    text = " ".join(text.split())
    return OMITTED if re.search(r"[\\{}^_&]", text) else text


def _power(exponent: str) -> str:
    if exponent == "\\circ":
        return " degrees "
    return {"2": " squared ", "3": " cubed "}.get(exponent, f" to the power of {exponent} ")

"""Themes: every text of every screen has enough contrast in each of them."""

import pytest
from contrast import XTERM_DARK, XTERM_LIGHT, find_low_contrast
from user import open_chat, run_async

ANSWER = """\
# A heading

A **cat** on a `sofa`, *asleep*, see [the page](https://example.org) ~~or not~~.

## Second
### Third
#### Fourth
##### Fifth
###### Sixth

> a quotation

- a list
1. another

| a | b |
|---|---|
| 1 | 2 |

```python
# a comment
def answer(question: str = "text") -> int:
    return 42  # 0x2a
```

---
"""
SCREENS = [[], ["f1"], ["f2"], ["f3", "down"], ["f9"], ["ctrl+l"], ["ctrl+p"], ["tab"]]


@pytest.mark.parametrize("theme", ["dark", "light", "contrast", "terminal"])
def test_every_text_has_the_contrast_of_level_aa(store, theme):
    @run_async
    async def chat():
        async with open_chat(
            store, size=(100, 60), theme=theme, sidebar=True, details=True
        ) as user:
            await user.load_model()
            problems = {"first screen": sorted(find_low_contrast(user.app))}
            await user.type("What is this?", "enter")
            await user.answer(ANSWER)
            for keys in SCREENS:
                await user.press(*keys)
                for palette in (XTERM_DARK, XTERM_LIGHT):
                    if found := find_low_contrast(user.app, palette):
                        problems[" ".join(keys) or "chat"] = sorted(found)
                if user.app.screen is not user.chat:
                    await user.press("escape")
            await user.type("/nothing", "enter")
            assert user.notices
            problems["notice"] = sorted(find_low_contrast(user.app))
            lines = [f"{where}: {what}" for where, found in problems.items() for what in found]
            assert not lines, "\n".join(lines)

    chat()

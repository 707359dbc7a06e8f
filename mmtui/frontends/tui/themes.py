"""The themes. All text has a contrast of 4.5:1 or more, and borders of 3:1 (WCAG 2.2, level AA)."""

from textual.app import App
from textual.theme import Theme

DARK = Theme(
    name="textual-dark",
    primary="#4fa3f0",
    secondary="#8ab4f8",
    accent="#ffb454",
    warning="#ffb454",
    error="#ff7a93",
    success="#6bd68a",
    foreground="#e4e4e4",
    background="#121212",
    surface="#1e1e1e",
    panel="#262a31",
    variables={
        "border-blurred": "#747474",
        "scrollbar": "#8a8a8a",
        "scrollbar-background": "#121212",
    },
)
LIGHT = Theme(
    name="textual-light",
    primary="#0b5cad",
    secondary="#3f5f8a",
    accent="#8f4a00",
    warning="#7a4f00",
    error="#b3193e",
    success="#1b6b36",
    foreground="#1c1c1c",
    background="#fafafa",
    surface="#eeeff2",
    panel="#e2e5ea",
    dark=False,
    variables={
        "border-blurred": "#7c7c7c",
        "scrollbar": "#707070",
        "scrollbar-background": "#fafafa",
    },
)
CONTRAST = Theme(
    name="textual-contrast",
    primary="#66d9ff",
    secondary="#66d9ff",
    accent="#ffff00",
    warning="#ffd700",
    error="#ff8c8c",
    success="#66ff66",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#000000",
    variables={
        "text": "#ffffff",
        "text-muted": "#ffffff",
        "block-cursor-background": "#ffff00",
        "block-cursor-foreground": "#000000",
        "border-blurred": "#a0a0a0",
        "scrollbar": "#ffffff",
        "scrollbar-background": "#000000",
    },
)
# Only the default colours of a terminal are certain to be readable, so all text has them.
_DEFAULT_COLORS = (
    *("text-muted", "text-disabled", "text-accent", "text-error", "foreground-muted"),
    *("block-cursor-background", "border-blurred", "primary-muted", "footer-key-foreground"),
    *("link-color", "link-color-hover", "link-background-hover"),
    *("scrollbar", "scrollbar-hover", "scrollbar-active", "scrollbar-background"),
    *("ansi-background", "ansi-foreground"),
    *(f"markdown-h{level}-color" for level in range(1, 7)),
)
TERMINAL = Theme(
    name="textual-terminal",
    primary="ansi_default",
    accent="ansi_magenta",
    error="ansi_red",
    ansi=True,
    variables=dict.fromkeys(_DEFAULT_COLORS, "ansi_default")
    | {"block-cursor-text-style": "bold reverse"},
)


def register(app: App[None]) -> None:
    """Register the themes with an app; two of them replace Textual's of the same name."""
    for theme in (DARK, LIGHT, CONTRAST, TERMINAL):
        app.register_theme(theme)
    app.stylesheet.set_variables(app.get_css_variables())


def get_name(setting: str) -> str:
    """Return the name of the theme that a setting stands for, as in "dark"."""
    return f"textual-{setting}"

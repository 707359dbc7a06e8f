"""The languages that Whisper transcribes: their codes and names."""

import difflib
from collections.abc import Sequence

from mmtui.errors import UsageError

DETECTED = "auto"  # the language of each recording is detected
# The codes and names of https://github.com/openai/whisper/blob/main/whisper/tokenizer.py.
LANGUAGES = {
    "af": "Afrikaans",
    "am": "Amharic",
    "ar": "Arabic",
    "as": "Assamese",
    "az": "Azerbaijani",
    "ba": "Bashkir",
    "be": "Belarusian",
    "bg": "Bulgarian",
    "bn": "Bengali",
    "bo": "Tibetan",
    "br": "Breton",
    "bs": "Bosnian",
    "ca": "Catalan",
    "cs": "Czech",
    "cy": "Welsh",
    "da": "Danish",
    "de": "German",
    "el": "Greek",
    "en": "English",
    "es": "Spanish",
    "et": "Estonian",
    "eu": "Basque",
    "fa": "Persian",
    "fi": "Finnish",
    "fo": "Faroese",
    "fr": "French",
    "gl": "Galician",
    "gu": "Gujarati",
    "ha": "Hausa",
    "haw": "Hawaiian",
    "he": "Hebrew",
    "hi": "Hindi",
    "hr": "Croatian",
    "ht": "Haitian Creole",
    "hu": "Hungarian",
    "hy": "Armenian",
    "id": "Indonesian",
    "is": "Icelandic",
    "it": "Italian",
    "ja": "Japanese",
    "jw": "Javanese",
    "ka": "Georgian",
    "kk": "Kazakh",
    "km": "Khmer",
    "kn": "Kannada",
    "ko": "Korean",
    "la": "Latin",
    "lb": "Luxembourgish",
    "ln": "Lingala",
    "lo": "Lao",
    "lt": "Lithuanian",
    "lv": "Latvian",
    "mg": "Malagasy",
    "mi": "Maori",
    "mk": "Macedonian",
    "ml": "Malayalam",
    "mn": "Mongolian",
    "mr": "Marathi",
    "ms": "Malay",
    "mt": "Maltese",
    "my": "Myanmar",
    "ne": "Nepali",
    "nl": "Dutch",
    "nn": "Nynorsk",
    "no": "Norwegian",
    "oc": "Occitan",
    "pa": "Punjabi",
    "pl": "Polish",
    "ps": "Pashto",
    "pt": "Portuguese",
    "ro": "Romanian",
    "ru": "Russian",
    "sa": "Sanskrit",
    "sd": "Sindhi",
    "si": "Sinhala",
    "sk": "Slovak",
    "sl": "Slovenian",
    "sn": "Shona",
    "so": "Somali",
    "sq": "Albanian",
    "sr": "Serbian",
    "su": "Sundanese",
    "sv": "Swedish",
    "sw": "Swahili",
    "ta": "Tamil",
    "te": "Telugu",
    "tg": "Tajik",
    "th": "Thai",
    "tk": "Turkmen",
    "tl": "Tagalog",
    "tr": "Turkish",
    "tt": "Tatar",
    "uk": "Ukrainian",
    "ur": "Urdu",
    "uz": "Uzbek",
    "vi": "Vietnamese",
    "yi": "Yiddish",
    "yo": "Yoruba",
    "yue": "Cantonese",
    "zh": "Chinese",
}
_OTHER_NAMES = {
    "burmese": "my",
    "castilian": "es",
    "flemish": "nl",
    "haitian": "ht",
    "letzeburgesch": "lb",
    "mandarin": "zh",
    "moldavian": "ro",
    "moldovan": "ro",
    "panjabi": "pa",
    "pushto": "ps",
    "sinhalese": "si",
    "valencian": "ca",
}


def is_language(text: str) -> bool:
    """Return whether a text is a code or a name of a language, or "auto"."""
    return text.strip().lower() == DETECTED or find_code(text) is not None


def parse_language(text: str) -> str | None:
    """Return the code of a language.

    Args:
        text: A code such as "de", a name such as "German", or "auto".

    Returns:
        The code; None for "auto", which detects the language of each recording.

    Raises:
        UsageError: Whisper knows no such language.
    """
    if text.strip().lower() == DETECTED:
        return None
    if (code := find_code(text)) is None:
        raise UsageError(f"Whisper knows no language {text!r}", suggest(text))
    return code


def suggest(text: str) -> str:
    """Return a hint for a text that is not a language: the languages with similar names."""
    names = {name.lower(): code for code, name in LANGUAGES.items()}
    nearest = difflib.get_close_matches(text.strip().lower(), names, 3)
    similar = ", ".join(f"{names[name]} ({LANGUAGES[names[name]]})" for name in nearest)
    return similar or "a language is a code or a name, such as de or german; auto detects it"


def get_name(code: str) -> str:
    """Return the English name of a language, such as "German"; the code if it is unknown."""
    return LANGUAGES.get(code, code)


def describe_mismatch(model: str, spoken: Sequence[str], language: str | None) -> str | None:
    """Return a note if a language model does not speak the language of a recording.

    Args:
        model: The name of the language model.
        spoken: Codes of the languages that it speaks; empty if that is unknown.
        language: Code of the recording's language; None if it is unknown.
    """
    if not spoken or language is None or language in spoken:
        return None
    names = " and ".join(map(get_name, spoken))
    return f"{model} speaks {names} only, and may not understand {get_name(language)}"


def refuse_language(speech_model: str, language: str) -> UsageError:
    """Return the error for a language that a speech model does not know.

    Args:
        speech_model: The name of the speech model; "" if it has none.
        language: Code of the language.
    """
    return UsageError(
        f"{speech_model or 'the speech model'} does not know {get_name(language)}",
        'base knows more: set speech = "base" in the settings, or MMTUI_SPEECH=base',
    )


def find_code(text: str) -> str | None:
    """Return the code of a language, given its code or name; None if Whisper knows none."""
    name = text.strip().lower()
    if name in LANGUAGES:
        return name
    codes = {other.lower(): code for code, other in LANGUAGES.items()} | _OTHER_NAMES
    return codes.get(name)

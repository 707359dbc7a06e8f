"""Hooks into other libraries that are not part of their documented interface.

They are collected here, so that it is known what an upgrade may break. `TESTED` has the versions
with which they were seen to work; a test compares them with what is installed.
"""

TESTED = {
    "beautifulsoup4": ">=4.13,<5",
    "rapidocr": ">=3.10,<3.11",
    "textual": ">=8,<9",
    "textual-image": ">=0.12,<0.13",
    "torch": ">=2.8,<2.9",
    "transformers": ">=4.57,<4.58",
}

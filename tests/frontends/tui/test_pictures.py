"""Pictures: thumbnails, the picture screen and the preview of the picker."""

import errno
import threading
from pathlib import Path
from typing import Any, NoReturn

import pytest
from PIL import Image
from textual.widget import Widget
from textual.widgets import Static
from user import User, open_chat, run_async

from mmtui.frontends.tui.screens.chat.screen import ChatScreen
from mmtui.frontends.tui.screens.picker import FileTree, Picker
from mmtui.frontends.tui.screens.picture import PictureScreen
from mmtui.frontends.tui.widgets.chips import Chip
from mmtui.pipeline import input_files

SIZES = [(120, 40), (80, 24), (40, 15)]
SHAPES = [(1600, 900), (400, 300), (90, 900)]
MOST_CELLS = 297  # across or down, of a picture by Kitty's protocol


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def photo(folder: Path, *size: int) -> Path:
    file = folder / f"{size[0]}x{size[1]}.png"
    Image.new("RGB", size, "orange").save(file)
    return file


async def open_picture(user: User, file: Path, side: int = 260) -> None:
    """Attach a picture and open it on the picture screen."""
    await user.load_model(side)
    await user.paste(str(file))
    user.chat.query_one(Chip).focus()
    await user.press("enter")
    assert isinstance(user.app.screen, PictureScreen)


async def open_picker(user: User) -> None:
    """Open the picker and move the cursor to the first file."""
    await user.press("f2")
    assert isinstance(user.app.screen, Picker)
    while not user.app.screen.query_one(FileTree).root.children:
        await user.settle()
    await user.press("down")


def get_drawn(user: User) -> list[Any]:
    return list(user.app.screen.query("HalfcellImage"))


def is_visible(picture: Widget) -> bool:
    """Return whether all of a widget is inside of its ancestors."""
    ancestors = [outer for outer in picture.ancestors if isinstance(outer, Widget)]
    return picture.region.area > 0 and all(
        outer.content_region.contains_region(picture.region) for outer in ancestors
    )


def has_shape(picture: Widget, width: int, height: int) -> bool:
    """Return whether a widget has an aspect ratio; cells are twice as high as they are wide."""
    columns, rows = picture.region.size
    return abs(columns - 2 * rows * width / height) <= 0.5 + width / height


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_large_picture_is_shown_completely(tmp_path, photos, size, shape):
    @run_async
    async def look():
        async with open_chat(tmp_path / "store", size=size) as user:
            await open_picture(user, photo(photos, *shape))
            original, model_input = get_drawn(user)
            assert is_visible(original) and has_shape(original, *shape)
            assert is_visible(model_input) and has_shape(model_input, 1, 1)
            assert model_input.region.height > size[1] / 2

    look()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_a_preview_is_shown_completely(tmp_path, photos, size, shape):
    photo(photos, *shape)

    @run_async
    async def look():
        async with open_chat(tmp_path / "store", size=size) as user:
            await open_picker(user)
            (picture,) = get_drawn(user)
            if size == (40, 15):  # there is only the tree
                assert not picture.region.area
            else:
                assert is_visible(picture) and has_shape(picture, *shape)

    look()


@run_async
async def test_a_picture_is_resized_with_the_terminal(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await open_picture(user, photo(photos, 1600, 900))
        widths = []
        for size in reversed(SIZES):
            await user.pilot.resize_terminal(*size)
            await user.settle()
            assert all(map(is_visible, get_drawn(user)))
            widths.append(get_drawn(user)[0].region.width)
        assert widths == sorted(set(widths))
        await user.press("escape")
        await user.pilot.resize_terminal(40, 15)
        await open_picker(user)
        await user.pilot.resize_terminal(80, 24)
        await user.settle()
        assert is_visible(get_drawn(user)[0])


@run_async
async def test_without_a_vision_tower_the_picture_has_all_the_space(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await open_picture(user, photo(photos, 1600, 900), side=0)
        (picture,) = get_drawn(user)
        assert is_visible(picture) and picture.region.width > 100


@run_async
async def test_a_picture_is_limited_to_the_size_that_terminals_can_draw(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(700, 40)) as user:
        await open_picture(user, photo(photos, 3000, 100), side=0)
        assert is_visible(get_drawn(user)[0]) and get_drawn(user)[0].region.width <= MOST_CELLS


@run_async
async def test_the_name_of_a_panorama_is_visible(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(80, 24)) as user:
        await user.paste(str(photo(photos, 3000, 100)))
        assert "3000x100.png" in user.screen


@pytest.mark.parametrize(("kept", "shown"), [((2400, 1800), (1600, 1200)), ((800, 600),) * 2])
def test_a_large_picture_has_a_higher_resolution(tmp_path, photos, kept, shown):
    @run_async
    async def look():
        async with open_chat(tmp_path / "store") as user:
            file = photo(photos, *kept)
            await user.paste(str(file))
            assert get_drawn(user)[0].image.size == (320, 240)
            await user.chat.chips.clear()
            await open_picture(user, file)
            assert [picture.image.size for picture in get_drawn(user)] == [shown, (260, 260)]

    look()


def assert_error_shown(user: User, text: str) -> None:
    """Assert that an error is shown in place of each picture."""
    errors = list(user.app.screen.query("LargePicture > Static").results(Static))
    assert errors and all(text in str(error.content) and is_visible(error) for error in errors)


def fail(path: Path) -> NoReturn:
    raise OSError(errno.ESTALE, "Stale file handle")


@run_async
async def test_a_disk_error_is_shown_in_place_of_the_picture(tmp_path, photos, monkeypatch):
    file = photo(photos, 40, 30)
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await user.load_model()
        await user.paste(str(file))
        monkeypatch.setattr(input_files, "open_file", fail)
        await open_picker(user)
        assert_error_shown(user, "can't be read: Stale file handle")
        await user.press("escape")
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        assert_error_shown(user, "can't be read: Stale file handle")
        await user.press("escape")
        assert isinstance(user.app.screen, ChatScreen)


@run_async
async def test_a_file_with_a_disk_error_does_not_hide_others(tmp_path, photos, monkeypatch):
    photo(photos, 40, 30)
    (photos / "bad").touch()
    (photos / "z.png").touch()
    stat = Path.stat

    def failing(path: Path, **how: Any) -> Any:
        if path.name in ("bad", "z.png"):
            raise OSError(errno.EIO, "Input/output error")
        return stat(path, **how)

    monkeypatch.setattr(Path, "stat", failing)
    async with open_chat(tmp_path / "store") as user:
        await open_picker(user)
        assert "40x30.png" in user.screen and len(get_drawn(user)) == 1
        await user.press("down")
        assert "z.png" in user.screen and not get_drawn(user)


@run_async
async def test_the_picker_opens_after_the_current_folder_was_deleted(tmp_path, photos):
    async with open_chat(tmp_path / "store") as user:
        photos.rmdir()
        await user.press("f2")
        assert isinstance(user.app.screen, Picker)


@run_async
async def test_the_picture_screen_can_be_closed_early(tmp_path, photos, monkeypatch):
    file = photo(photos, 40, 30)
    left, read = threading.Event(), input_files.read_picture

    def slow(path: Path) -> Any:
        left.wait(60)
        return read(path)

    async with open_chat(tmp_path / "store") as user:
        await user.load_model()
        await user.paste(str(file))
        monkeypatch.setattr(input_files, "read_picture", slow)
        user.chat.query_one(Chip).focus()
        await user.pilot.press("enter")
        await user.pilot.pause()
        assert isinstance(user.app.screen, PictureScreen)
        await user.pilot.press("escape")
        left.set()
        await user.settle()
        assert isinstance(user.app.screen, ChatScreen)

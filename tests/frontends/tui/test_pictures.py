"""Pictures: beside a name, large, and beside the tree that they are chosen from."""

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
    """The folder where the user is."""
    folder = tmp_path / "photos"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def photo(folder: Path, *size: int) -> Path:
    file = folder / f"{size[0]}x{size[1]}.png"
    Image.new("RGB", size, "orange").save(file)
    return file


async def look_at(user: User, file: Path, side: int = 260) -> None:
    """Large."""
    await user.load_model(side)
    await user.paste(str(file))
    user.chat.query_one(Chip).focus()
    await user.press("enter")
    assert isinstance(user.app.screen, PictureScreen)


async def pick(user: User) -> None:
    """The cursor comes to the first file."""
    await user.press("f2")
    assert isinstance(user.app.screen, Picker)
    while not user.app.screen.query_one(FileTree).root.children:
        await user.settle()
    await user.press("down")


def drawn(user: User) -> list[Any]:
    return list(user.app.screen.query("HalfcellImage"))


def is_whole(picture: Widget) -> bool:
    """All of it is within all that it is in."""
    around = [outer for outer in picture.ancestors if isinstance(outer, Widget)]
    return picture.region.area > 0 and all(
        outer.content_region.contains_region(picture.region) for outer in around
    )


def has_shape(picture: Widget, width: int, height: int) -> bool:
    """In whole cells, which are twice as high as they are wide."""
    columns, rows = picture.region.size
    return abs(columns - 2 * rows * width / height) <= 0.5 + width / height


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_all_of_a_picture_is_seen_large(tmp_path, photos, size, shape):
    @run_async
    async def look():
        async with open_chat(tmp_path / "store", size=size) as user:
            await look_at(user, photo(photos, *shape))
            whole, seen = drawn(user)
            assert is_whole(whole) and has_shape(whole, *shape)
            assert is_whole(seen) and has_shape(seen, 1, 1)
            assert seen.region.height > size[1] / 2

    look()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", SIZES)
def test_all_of_a_picture_is_seen_beside_the_tree(tmp_path, photos, size, shape):
    photo(photos, *shape)

    @run_async
    async def look():
        async with open_chat(tmp_path / "store", size=size) as user:
            await pick(user)
            (picture,) = drawn(user)
            if size == (40, 15):  # there is only the tree
                assert not picture.region.area
            else:
                assert is_whole(picture) and has_shape(picture, *shape)

    look()


@run_async
async def test_a_picture_follows_the_size_of_the_terminal(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await look_at(user, photo(photos, 1600, 900))
        widths = []
        for size in reversed(SIZES):
            await user.pilot.resize_terminal(*size)
            await user.settle()
            assert all(map(is_whole, drawn(user)))
            widths.append(drawn(user)[0].region.width)
        assert widths == sorted(set(widths))
        await user.press("escape")
        await user.pilot.resize_terminal(40, 15)
        await pick(user)
        await user.pilot.resize_terminal(80, 24)
        await user.settle()
        assert is_whole(drawn(user)[0])


@run_async
async def test_a_model_that_sees_nothing_leaves_all_the_room_to_the_picture(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await look_at(user, photo(photos, 1600, 900), side=0)
        (picture,) = drawn(user)
        assert is_whole(picture) and picture.region.width > 100


@run_async
async def test_a_picture_is_no_larger_than_terminals_can_draw(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(700, 40)) as user:
        await look_at(user, photo(photos, 3000, 100), side=0)
        assert is_whole(drawn(user)[0]) and drawn(user)[0].region.width <= MOST_CELLS


@run_async
async def test_a_panorama_leaves_room_for_its_name(tmp_path, photos):
    async with open_chat(tmp_path / "store", size=(80, 24)) as user:
        await user.paste(str(photo(photos, 3000, 100)))
        assert "3000x100.png" in user.screen


@pytest.mark.parametrize(("kept", "shown"), [((2400, 1800), (1600, 1200)), ((800, 600),) * 2])
def test_large_is_also_fine(tmp_path, photos, kept, shown):
    @run_async
    async def look():
        async with open_chat(tmp_path / "store") as user:
            file = photo(photos, *kept)
            await user.paste(str(file))
            assert drawn(user)[0].image.size == (320, 240)
            await user.chat.chips.clear()
            await look_at(user, file)
            assert [picture.image.size for picture in drawn(user)] == [shown, (260, 260)]

    look()


def assert_told(user: User, why: str) -> None:
    """In place of each picture, and legibly."""
    told = list(user.app.screen.query("LargePicture > Static").results(Static))
    assert told and all(why in str(one.content) and is_whole(one) for one in told)


def fails(path: Path) -> NoReturn:
    raise OSError(errno.ESTALE, "Stale file handle")


@run_async
async def test_a_disk_that_fails_is_told_where_the_picture_would_be(tmp_path, photos, monkeypatch):
    file = photo(photos, 40, 30)
    async with open_chat(tmp_path / "store", size=(120, 40)) as user:
        await user.load_model()
        await user.paste(str(file))
        monkeypatch.setattr(input_files, "open_file", fails)
        await pick(user)
        assert_told(user, "can't be read: Stale file handle")
        await user.press("escape")
        user.chat.query_one(Chip).focus()
        await user.press("enter")
        assert_told(user, "can't be read: Stale file handle")
        await user.press("escape")
        assert isinstance(user.app.screen, ChatScreen)


@run_async
async def test_what_a_failing_disk_can_t_tell_hides_nothing_else(tmp_path, photos, monkeypatch):
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
        await pick(user)
        assert "40x30.png" in user.screen and len(drawn(user)) == 1
        await user.press("down")
        assert "z.png" in user.screen and not drawn(user)


@run_async
async def test_a_folder_that_is_gone_is_not_where_files_are_chosen(tmp_path, photos):
    async with open_chat(tmp_path / "store") as user:
        photos.rmdir()
        await user.press("f2")
        assert isinstance(user.app.screen, Picker)


@run_async
async def test_a_picture_may_be_left_before_it_is_there(tmp_path, photos, monkeypatch):
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

"""Pictures and sounds in the replies of a scripted server, in all places where servers put them."""

import pytest
from reply_media import (
    encode,
    make_picture,
    make_samples,
    make_wav,
    reply_with_picture,
    reply_with_sound,
    stream,
    to_delta,
    to_image,
    to_uri,
)
from scripted_server import ScriptedServer, Step, send, to_event, to_part

from mmtui.endpoint import events
from mmtui.endpoint.address import parse_endpoint
from mmtui.endpoint.client import Client
from mmtui.endpoint.completion import Completion, Delta, Request
from mmtui.endpoint.exchange import Cancellation
from mmtui.endpoint.media import MAX_FILES, LeftOut, ReplyFile
from mmtui.endpoint.messages import EndpointTurn
from mmtui.errors import MmtuiError

PICTURE = make_picture()
URI = to_uri(PICTURE)


class Reply:
    """What a client receives: the text, the files, and what is left out."""

    def __init__(self, *steps: Step) -> None:
        self.text, self.spoken = "", ""
        self.files: list[ReplyFile] = []
        self.problems: list[str] = []
        self.error = ""
        request = Request((EndpointTurn("user", "Draw."),))
        with ScriptedServer(*steps) as server:
            client = Client(parse_endpoint(server.url))
            try:
                for part in client.complete("tiny", request, Cancellation()):
                    self._add(part)
            except MmtuiError as error:
                self.error = str(error)
        self.requests = [received.path for received in server.requests]

    def _add(self, part: object) -> None:
        if isinstance(part, Delta):
            self.text += part.text
            self.spoken += part.text if part.is_spoken else ""
        elif isinstance(part, ReplyFile):
            self.files.append(part)
        elif isinstance(part, LeftOut):
            self.problems.append(part.message)
        else:
            assert isinstance(part, Completion)


@pytest.mark.parametrize(
    "step",
    [
        stream(to_part("A cat."), to_delta(images=[to_image(URI)])),
        stream(to_part("A cat."), to_delta(images=[{"image_url": URI}, to_image(URI)])),
        stream(to_part("A cat."), to_delta(images=[URI])),
        stream(to_delta(content=[{"type": "text", "text": "A cat."}, to_image(URI)])),
        stream(
            to_delta(content=[{"type": "output_image", "image_url": URI}]), to_part("A cat.")
        ),
        stream(to_part("A cat."), to_delta(images=[{"b64_json": encode(PICTURE)}])),
        stream(to_part(f"A ![a cat]({URI})cat.")),
        stream(to_part(f'A ![a cat](<{URI}> "Tom")cat.')),
        send(
            to_event(
                {
                    "choices": [
                        {
                            "message": {"content": "A cat.", "images": [to_image(URI)]},
                            "finish_reason": "stop",
                        }
                    ]
                }
            ).removeprefix(b"data: "),
            content_type="application/json",
        ),
    ],
    ids=range(9),
)  # fmt: skip
def test_a_picture_is_found_wherever_a_server_puts_it(step):
    reply = Reply(step)
    assert (reply.text, reply.error, reply.problems) == ("A cat.", "", [])
    assert reply.files == [ReplyFile("image", PICTURE)]


def test_a_picture_in_markdown_may_arrive_in_any_pieces():
    markdown = f"Wow! One ![](x.png) ![a]({URI}) ![b [c]({to_uri(make_picture('blue'))})\nEnd!"
    pieces = [markdown[at : at + 7] for at in range(0, len(markdown), 7)]
    reply = Reply(stream(*map(to_part, pieces)))
    assert reply.text == "Wow! One ![](x.png)  \nEnd!"
    assert [file.data for file in reply.files] == [PICTURE, make_picture("blue")]


@pytest.mark.parametrize(
    "text",
    [
        f"```md\n![a]({URI})\n```",
        f"Write `![a]({URI})`.",
        "Write ![a](data:image/png;base64,iVBORw0KGgo...).",
        "Write ![a](data:image/png;base64,iVBORw0KGgo=).",
        "It ends ![with](data:ima",
        "Write ![a](data:image/png;base64,iVBOR... and so on. " + "It is long. " * 300,
        "Write ![a](data:image/png and then the data. " + "It is long. " * 300 + "(The end.)",
        "![a](https://example.com/a.png)!",
    ],
)
def test_examples_and_other_texts_stay_as_they_are(text):
    reply = Reply(stream(*map(to_part, (text[:9], text[9:]))))
    assert (reply.text, reply.files, reply.problems) == (text, [], [])


def test_a_picture_on_the_web_becomes_a_link_and_is_not_fetched():
    with ScriptedServer(reply_with_picture()) as other:
        address = other.url.replace("/v1", "/cat.png")
        reply = Reply(stream(to_part("Look:"), to_delta(images=[to_image(address)])))
        assert other.requests == []
    assert reply.text == f"Look:\n\npicture: <{address}>\n\n" and reply.files == []


def test_a_picture_after_an_example_that_is_not_closed_is_found():
    example = "Write ![a](data:image/png;base64,iVBOR... like this: "
    reply = Reply(stream(to_part(f"{example}![b]({URI})!")))
    assert (reply.text, reply.problems) == (f"{example}!", [])
    assert reply.files == [ReplyFile("image", PICTURE)]


def test_a_link_that_is_repeated_at_the_end_is_shown_once():
    images = [to_image("https://example.com/cat.png")]
    reply = Reply(stream(to_delta(images=images), to_part("A cat."), to_delta(images=images)))
    assert reply.text == "\n\npicture: <https://example.com/cat.png>\n\nA cat."


def test_pieces_of_samples_are_one_sound_and_its_transcript_is_the_text():
    samples = make_samples()
    reply = Reply(reply_with_sound("Good ", "morning.", samples=samples))
    assert reply.text == reply.spoken == "Good morning."
    assert reply.files == [ReplyFile("audio", samples)]


def test_a_transcript_is_not_added_to_a_text():
    parts = to_part("Hello."), to_delta(audio={"transcript": "Hello.", "data": encode(b"ab")})
    reply = Reply(stream(*parts))
    assert (reply.text, reply.spoken) == ("Hello.", "")
    assert reply.files == [ReplyFile("audio", b"ab")]


def test_a_character_that_is_split_between_parts_of_a_transcript_is_whole():
    assert Reply(reply_with_sound("Hi \ud83d", "\ude00")).text == "Hi \N{GRINNING FACE}"


def test_wav_files_that_were_written_as_a_stream_are_joined():
    samples = make_samples(0.5)
    first, second = make_wav(samples[:8000]), make_wav(samples[8000:])
    unknown = b"\xff\xff\xff\xff"  # the length of the file, and that of the samples
    streamed = first[:4] + unknown + first[8:40] + unknown + first[44:]
    pieces = [to_delta(audio={"data": encode(piece)}) for piece in (streamed, second)]
    assert Reply(stream(*pieces)).files == [ReplyFile("audio", make_wav(samples))]


def test_wav_files_of_which_one_is_damaged_are_joined_as_they_are():
    wav, damaged = make_wav(make_samples(0.1)), b"RIFF\x14\0\0\0WAVELIST\xff\xff\0\0data"
    reply = Reply(stream(*(to_delta(audio={"data": encode(piece)}) for piece in (wav, damaged))))
    assert (reply.files, reply.error) == ([ReplyFile("audio", wav + damaged)], "")


def test_wav_files_and_pieces_of_base64_are_joined():
    samples = make_samples(0.5)
    pieces = [encode(make_wav(half)) for half in (samples[:8000], samples[8000:])]
    reply = Reply(stream(*(to_delta(audio={"data": piece}) for piece in pieces)))
    assert reply.files == [ReplyFile("audio", make_wav(samples))]
    text = encode(make_wav(samples))
    reply = Reply(stream(*(to_delta(audio={"data": part}) for part in (text[:101], text[101:]))))
    assert reply.files == [ReplyFile("audio", make_wav(samples))]


@pytest.mark.parametrize(
    ("delta", "problem"),
    [
        ({"images": [to_image("data:image/png;base64,%%%" + "A" * 300)]}, "base64 is damaged"),
        ({"images": [to_image("data:image/png,abc")]}, "data is not in base64"),
        ({"images": [to_image("file:///etc/passwd"), {"image_url": 3}]}, "data is not in base64"),
        ({"images": [to_image("https://x.org/\x1b[31m")]}, "data is not in base64"),
        ({"audio": {"data": "%%%%"}}, "the sound of the answer is left out"),
    ],
)
def test_damaged_data_is_left_out_with_one_line(delta, problem):
    reply = Reply(stream(to_part("A cat."), to_delta(**delta)))
    assert (reply.text, reply.files) == ("A cat.", [])
    assert len(reply.problems) == 1 and problem in reply.problems[0]
    assert "\n" not in reply.problems[0]


def test_odd_values_are_ignored():
    odd = [None, {}, [], 3, "x"]
    parts = [to_delta(images=value) for value in [*odd, [None], [""]]]
    parts += [to_delta(audio=value) for value in [*odd, {"data": 3, "transcript": []}]]
    parts += [to_delta(content=[None, 3, {"type": 3}, {"type": "image_url"}])]
    reply = Reply(stream(to_part("A cat."), *parts))
    assert reply.text == "A cat." and reply.files == []


def test_the_number_of_pictures_is_limited():
    images = [to_image(to_uri(f"{number}".encode() * 200)) for number in range(MAX_FILES + 8)]
    reply = Reply(stream(to_delta(images=images)))
    assert len(reply.files) == MAX_FILES and len(reply.problems) == 1


def test_a_large_picture_fits_into_an_event():
    data = PICTURE + bytes(10_000_000)
    assert Reply(reply_with_picture(data=data)).files == [ReplyFile("image", data)]


def test_what_came_before_a_fault_is_kept():
    cut = send(to_part("Wow!"), to_delta(audio={"data": encode(b"abcd")}))
    reply = Reply(cut)
    assert "closed the connection" in reply.error and reply.text == "Wow!"
    assert reply.files == [ReplyFile("audio", b"abcd")]
    reply = Reply(send(to_part(f"A ![a]({URI[:-40]}")))
    assert reply.text == "A " and "cut off" in reply.problems[0]


@pytest.mark.parametrize(
    "end",
    [to_event({"error": {"message": "overloaded"}}), b"data: {\n\n", b"data: " + b"x" * 2000],
    ids=["error", "garbage", "too large"],
)
def test_what_came_before_an_error_in_the_stream_is_kept(monkeypatch, end):
    monkeypatch.setattr(events, "MAX_EVENT_BYTES", 1000)
    reply = Reply(send(to_part("Wow![a"), to_delta(audio={"data": encode(b"abcd")}), end))
    assert reply.error and reply.text == "Wow![a"
    assert reply.files == [ReplyFile("audio", b"abcd")]


def test_a_model_is_asked_for_what_the_server_reports_that_it_makes(mmtui, tmp_path):
    with ScriptedServer(reply_with_picture()) as server:
        model = {"id": "tiny", "architecture": {"output_modalities": ["image", "text", "audio"]}}
        server.documents["/v1/models"] = {"data": [model]}
        run = mmtui("ask", "--endpoint", server.url, "--save-media", tmp_path, "Draw.")
        assert run.code == 0, run.err
        body = server.completions[0].json
        assert sorted(body["modalities"]) == ["audio", "image", "text"]
        assert body["audio"]["format"] == "pcm16"
        assert mmtui("ask", "--endpoint", server.url, "Draw.").code == 0
        assert "modalities" not in server.completions[1].json
        listed = mmtui("models", "--endpoint", server.url).out
    assert "draws, speaks" in listed

"""Vision towers of open_clip and timm, in the layouts of the real weights."""

import codecs
import dataclasses
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.spec import Asset, VisionSpec
from mmtui.pipeline.vision.preprocessing import preprocess
from mmtui.pipeline.vision.tower import VisionTower


def make_spec(architecture: str, size: int, patches: int, width: int) -> VisionSpec:
    half = (0.5, 0.5, 0.5)
    return VisionSpec(Asset("here"), architecture, size, half, half, patches, width)


def make_noise(width: int = 90, height: int = 70) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def preprocess_noise(tower: VisionTower) -> torch.Tensor:
    return torch.from_numpy(preprocess(make_noise(), tower.spec))[None]


def test_tinyclip_has_the_shape_of_phi2_s_spec(save_clip, tmp_path):
    vision = {"image_size": 224, "layers": 12, "width": 640, "patch_size": 32}
    spec = checkpoint.find("phi2").spec.vision
    tower = VisionTower(spec, save_clip(tmp_path, vision_cfg=vision))
    assert tower.encode([make_noise(640, 480)]).shape == (1, 49, 640)


def test_clip_tokens_are_the_last_layer_after_ln_post_without_class_token(tiny_clip):
    tower = VisionTower(make_spec("open_clip", 64, 16, 128), tiny_clip)
    features = tower.encode([make_noise(), make_noise(64, 200)])
    assert features.shape == (2, 16, 128)

    visual = tower.visual
    with torch.no_grad():
        before = visual.forward_intermediates(preprocess_noise(tower), indices=1, output_fmt="NLC")[
            "image_intermediates"
        ][-1]
        expected = visual.ln_post(before)
    torch.testing.assert_close(features[:1], expected)
    assert not torch.allclose(features[:1], before, atol=0.1)


def test_a_clip_config_with_a_byte_order_mark_is_read(tiny_clip, tmp_path):
    folder = shutil.copytree(tiny_clip, tmp_path / "clip")
    config = folder / "open_clip_config.json"
    config.write_bytes(codecs.BOM_UTF8 + config.read_bytes())
    spec = make_spec("open_clip", 64, 16, 128)
    features = VisionTower(spec, folder).encode([make_noise()])
    assert torch.equal(features, VisionTower(spec, tiny_clip).encode([make_noise()]))


def test_the_tower_stays_frozen_in_training_mode(tiny_clip):
    tower = VisionTower(make_spec("open_clip", 64, 16, 128), tiny_clip)
    torch.nn.Sequential(tower).train()
    assert not tower.visual.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())


def test_a_batch_equals_its_pictures_encoded_alone(tiny_clip):
    tower = VisionTower(make_spec("open_clip", 64, 16, 128), tiny_clip)
    pictures = [make_noise(), make_noise(200, 64), make_noise(64, 64)]
    alone = torch.cat([tower.encode([picture]) for picture in pictures])
    torch.testing.assert_close(tower.encode(pictures), alone, atol=1e-5, rtol=1e-5)


def test_a_strip_is_cropped_before_it_is_resized(tiny_clip):
    spec = make_spec("open_clip", 64, 16, 128)
    tower = VisionTower(spec, tiny_clip)
    assert tower.encode([Image.new("RGB", (1, 60_000_000))]).isfinite().all()
    wide = make_noise(1024, 128)
    complete = preprocess(wide, spec)
    middle = preprocess(wide.crop((384, 0, 640, 128)), spec)
    np.testing.assert_allclose(middle, complete, atol=0.02, rtol=0)


@pytest.mark.parametrize(
    ("width", "height"), [(640, 480), (480, 640), (260, 260), (261, 259), (17, 23), (333, 512)]
)
@pytest.mark.parametrize("size", [260, 224, 65])
def test_preprocessing_equals_that_of_open_clip(width, height, size):
    spec = make_spec("open_clip", size, 16, 128)
    cfg = PreprocessCfg(
        size=size, mean=spec.mean, std=spec.std, interpolation="bicubic", resize_mode="shortest"
    )
    picture = make_noise(width, height)
    expected = image_transform_v2(cfg, is_train=False)(picture)
    assert torch.equal(torch.from_numpy(preprocess(picture, spec)), expected)


def to_port_name(name: str, depths: list[int], expands: bool) -> str:
    """Convert timm's name of a tensor to that of the PyTorch port, independently of the code."""
    if not name.startswith("blocks."):
        for ours, theirs in (("conv_stem", "_conv_stem"), ("conv_head", "_conv_head")):
            name = name.replace(ours, theirs)
        name = name.replace("bn2.", "_bn1.") if name.startswith("bn2") else name
        name = name.replace("bn1.", "_bn0.") if name.startswith("bn1") else name
        return name.replace("classifier", "_fc")
    _, stage, index, layer, leaf = name.split(".")
    number = sum(depths[: int(stage)]) + int(index)
    expanding = ["conv_pw", "bn1", "conv_dw", "bn2", "conv_pwl", "bn3"]
    depthwise = ["conv_dw", "bn1", "conv_pw", "bn2"]
    port = ["_expand_conv", "_bn0", "_depthwise_conv", "_bn1", "_project_conv", "_bn2"]
    names = zip(expanding, port, strict=True) if expands else zip(depthwise, port[2:], strict=True)
    return f"_blocks.{number}.{dict(names)[layer]}.{leaf}"


@pytest.fixture(scope="module")
def efficientnet() -> torch.nn.Module:
    torch.manual_seed(0)
    model = timm.create_model("tf_efficientnet_lite2")
    for buffer in model.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def test_tensors_of_the_efficientnet_port_are_renamed(efficientnet, tmp_path):
    depths = [len(stage) for stage in efficientnet.blocks]
    names = list(efficientnet.state_dict())
    state = {}
    for name in reversed(names):  # the order must not matter
        block = name.split(".")[:3]
        expands = ".".join([*block, "conv_pwl", "weight"]) in names
        state[to_port_name(name, depths, expands)] = efficientnet.state_dict()[name]
    weights = tmp_path / "efficientnet.pth"
    torch.save(state, weights)
    tower = VisionTower(make_spec("tf_efficientnet_lite2", 260, 81, 1280), weights)
    with torch.no_grad():
        expected = efficientnet.forward_features(preprocess_noise(tower))
    features = tower.encode([make_noise()])
    torch.testing.assert_close(features, expected.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("damage", ["a tensor is missing", "a tensor is misshapen", "cut off"])
def test_weights_that_do_not_fit_are_refused(tmp_path, damage, smol):
    asset = smol.spec.vision.weights
    state = torch.load(fetch.locate(asset), weights_only=True)
    weights = tmp_path / "weights.pth"
    if damage == "a tensor is missing":
        del state["_blocks.7._bn1.bias"]
    if damage == "a tensor is misshapen":
        state["_conv_stem.weight"] = torch.zeros(1, 2)
    torch.save(state, weights)
    if damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:100_000])
    with pytest.raises(InputError, match="no weights of tf_efficientnet_lite2"):
        VisionTower(smol.spec.vision, weights)


def test_a_clip_folder_without_weights_is_refused(tiny_clip, tmp_path):
    shutil.copy(tiny_clip / "open_clip_config.json", tmp_path)
    with pytest.raises(InputError, match=r"no open_clip_model.safetensors"):
        VisionTower(make_spec("open_clip", 64, 16, 128), tmp_path)


def test_a_clip_with_a_tower_of_timm_is_loaded(save_clip, tmp_path):
    tower_cfg = {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token", "image_size": 224}
    save_clip(tmp_path, vision_cfg={**tower_cfg, "timm_proj": "linear"})
    tower = VisionTower(make_spec("open_clip", 224, 196, 192), tmp_path)
    features = tower.encode([make_noise()])
    with torch.no_grad():
        expected = tower.visual.trunk.forward_features(preprocess_noise(tower))
    torch.testing.assert_close(features, expected[:, 1:])


@pytest.mark.parametrize("architecture", ["nonsense", "vit_tiny_patch16_224"])
def test_unknown_architectures_are_refused(smol, architecture):
    spec = dataclasses.replace(smol.spec.vision, architecture=architecture)
    with pytest.raises(InputError, match=f"no weights of {architecture}"):
        VisionTower(spec, fetch.locate(spec.weights))


def test_pickled_code_is_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    weights = tmp_path / "evil.pth"
    torch.save({"_conv_stem.weight": Evil()}, weights)
    with pytest.raises(InputError):
        VisionTower(make_spec("tf_efficientnet_lite2", 260, 81, 1280), weights)
    assert not (tmp_path / "ran").exists()


def make_smol_spec(smol, patches: int) -> VisionSpec:
    return dataclasses.replace(smol.spec.vision, patches=patches)


def test_a_spec_of_another_shape_is_refused(smol):
    spec = make_smol_spec(smol, 121)
    tower = VisionTower(spec, fetch.locate(spec.weights))
    with pytest.raises(InputError, match=r"\(100, 1280\).*\(121, 1280\)"):
        tower.encode([make_noise()])


@pytest.mark.perf
def test_a_picture_is_encoded_within_a_quarter_of_a_second(smol):
    """The best of five runs on 2 cores."""
    spec = smol.spec.vision
    tower = VisionTower(spec, fetch.locate(spec.weights))
    durations = []
    for _ in range(5):
        start = time.perf_counter()
        tower.encode([make_noise()])
        durations.append(time.perf_counter() - start)
    print(f"a picture is encoded in {1000 * min(durations):.0f} ms")
    assert min(durations) < 0.25


def test_fewer_patches_are_means_of_neighbours(smol):
    """Each of 5 x 5 patches is the mean of a block of 10 x 10."""
    image = make_noise()
    weights = fetch.locate(smol.spec.vision.weights)
    grid = VisionTower(make_smol_spec(smol, 100), weights).encode([image]).reshape(5, 2, 5, 2, 1280)
    expected = grid.mean(dim=(1, 3)).reshape(25, 1280)
    few = VisionTower(make_smol_spec(smol, 25), weights).encode([image])[0]
    assert torch.allclose(few, expected, atol=1e-5)

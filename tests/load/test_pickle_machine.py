"""The pickle machine against CPython's unpickler on data, and against pickles that want to run, fill or hang."""

from __future__ import annotations

import datetime
import math
import mmap
import pickle
import pickletools
import tracemalloc
from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pickle_attacks import Code, call, data, glob, whole

from avreview.load.pickles.arrays import NumpyArray
from avreview.load.pickles.builders import BUILDERS
from avreview.load.pickles.inert import Global, Instance
from avreview.load.pickles.machine import PickleError, PickleLimits, Unpickled, unpickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)


def read(pickled: bytes, **limits: Any) -> Unpickled:
    return unpickle(pickled, file="data.pkl", builders=BUILDERS, limits=PickleLimits(**limits))


# Data

_LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(1 << 900), 1 << 900),
    st.floats(allow_nan=False),
    st.complex_numbers(allow_nan=False),
    st.text(),
    st.text(st.characters(codec=None, min_codepoint=0xD000, max_codepoint=0xE100)),
    st.binary(),
    st.binary().map(bytearray),
    st.text(min_size=250, max_size=260),
)
_KEYS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())
_HASHABLE = st.recursive(
    _KEYS, lambda part: st.one_of(st.tuples(part, part), st.frozensets(part, max_size=4)), max_leaves=6
)
PLAIN = st.recursive(
    _LEAVES,
    lambda part: st.one_of(
        st.lists(part, max_size=6),
        st.lists(part, max_size=5).map(tuple),
        st.dictionaries(_HASHABLE, part, max_size=5),
        st.sets(_HASHABLE, max_size=5),
        st.frozensets(_HASHABLE, max_size=5),
        part.map(lambda held: [held, held, (held,)]),  # through the memo
    ),
    max_leaves=25,
)


@settings(max_examples=150, deadline=None)
@given(value=PLAIN, protocol=st.sampled_from(PROTOCOLS), framed=st.booleans())
def test_data_equals_what_cpython_reads(value: Any, protocol: int, framed: bool) -> None:
    pickled = pickle.dumps(value, protocol)
    if not framed:
        pickled = pickletools.optimize(pickled)
    found = read(pickled + b"left over")
    assert found.end == len(pickled)
    assert found.code == []
    assert_same(found.value, pickle.loads(pickled))


def assert_same(found: Any, expected: Any) -> None:
    assert type(found) is type(expected)
    if isinstance(found, list | tuple):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other)
    elif isinstance(found, dict):
        assert list(found) == list(expected)
        for one, other in zip(found.values(), expected.values(), strict=True):
            assert_same(one, other)
    else:
        assert found == expected
        assert isinstance(found, set | frozenset) or repr(found) == repr(expected)  # −0.0 from 0.0, 1 from True


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_same_object_stays_the_same_object(protocol: int) -> None:
    inner = [1]
    loop: list[Any] = [inner, inner]
    loop.append(loop)
    found = read(pickle.dumps({"a": loop, "b": inner}, protocol)).value
    assert found["a"][0] is found["a"][1] is found["b"]
    assert found["a"][2] is found["a"]


def test_a_map_a_view_and_bytes_read_alike_from_any_place(tmp_path: Path) -> None:
    value = {"name": "é" * 300, "numbers": [1, 2.5, 10**30, b"raw"]}
    path = tmp_path / "data.pkl"
    for protocol in PROTOCOLS:
        pickled = b"\x00" * 7 + pickle.dumps(value, protocol) + b"\x01\x02"
        path.write_bytes(pickled)
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            forms: list[Any] = [pickled, mapped, memoryview(pickled)]
            ends = [unpickle(form, 7, builders=BUILDERS) for form in forms]
        assert [found.value for found in ends] == [value] * 3
        assert {found.end for found in ends} == {len(pickled) - 2}


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_standard_librarys_data(protocol: int) -> None:
    moment = datetime.datetime(2026, 3, 1, 12, 30, 5, 7, tzinfo=datetime.timezone.utc)
    value = [
        OrderedDict(a=1), defaultdict(list, {"x": [1]}), Counter("aab"), deque([1, 2]), range(3, 9, 2), slice(1, 4),
        moment, datetime.timedelta(3, 4), datetime.date(2026, 3, 1), PurePosixPath("/data/run"), {1, 2}, iter([1, 2]),
    ]  # fmt: skip
    found = read(pickle.dumps(value, protocol))
    assert found.value[:10] == [
        {"a": 1}, {"x": [1]}, {"a": 2, "b": 1}, [1, 2], (3, 9, 2), (1, 4, None), moment, datetime.timedelta(3, 4),
        datetime.date(2026, 3, 1), "/data/run",
    ]  # fmt: skip
    assert found.value[10:] == [{1, 2}, [1, 2]]
    assert found.code == []


DOUBLE = data((3, "|", None, ("a", "b"), {"a": (Code(b"h\x00"), 0), "b": (Code(b"h\x00"), 8)}, 16, 1, 0)) + b"b"
ARRAYS = [
    np.arange(6, dtype=">i4").reshape(2, 3), np.asfortranarray(np.arange(6.0).reshape(3, 2)), np.zeros((0, 4), "f2"),
    np.array(["ab", "é"]), np.array([b"x", b"yz"]), np.array([True, False]), np.array(3 + 4j), np.arange(4)[::2],
    np.array([(1, 2.5)], [("a", "<i2"), ("b", ">f8")]), np.array(["2026-03-01"], "datetime64[D]"),
    np.array([([1, 2], 3)], [("a", "i4", (2,)), ("b", "i2")]),
]  # fmt: skip


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_arrays_keep_their_bytes(protocol: int) -> None:
    for expected in ARRAYS[:-1]:
        found = read(pickle.dumps(expected, protocol)).value
        assert isinstance(found, NumpyArray)
        array = found.array()
        assert array.dtype == expected.dtype
        assert array.shape == expected.shape
        assert (array == expected).all()
    opaque = read(pickle.dumps(ARRAYS[-1], protocol)).value.array()
    assert opaque["b"] == [3]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numpy_numbers_are_numbers(protocol: int) -> None:
    numbers = [
        np.float64(2.5),
        np.float32(0.5),
        np.float16(2),
        np.int64(-7),
        np.uint8(9),
        np.bool_(True),
        np.complex64(2j),
    ]
    found = read(pickle.dumps(numbers, protocol))
    assert found.value == [2.5, 0.5, 2.0, -7, 9, True, 2j]
    assert found.code == []


def test_a_numpy_type_that_holds_itself_is_refused() -> None:
    fields = b"(K\x03X\x01\0\0\0|NX\x01\0\0\0a\x85}X\x01\0\0\0a%bK\x00\x86sK\x08K\x01K\x00tb"
    made = call(glob("numpy", "dtype"), "V8", False, True).opcodes
    inner = call(glob("numpy", "dtype"), "f8", False, True).opcodes
    kind = unpickle(made + b"q\x00" + fields.replace(b"%b", inner) + b".", builders=BUILDERS).value
    assert kind.numpy() == np.dtype([("a", "f8")])
    with pytest.raises(PickleError, match="holds itself"):
        read(made + b"q\x00" + fields.replace(b"%b", b"h\x00") + b".")
    other = made + b"q\x01" + fields.replace(b"%b", b"h\x00") + b"0"
    through = made + b"q\x00" + other + fields.replace(b"%b", b"h\x01") + b"."
    with pytest.raises(PickleError, match="after it was used"):
        read(through)
    doubled = inner + b"q\x000" + (made + b"q\x01" + DOUBLE + b"h\x01q\x0000") * 12 + b"N."
    with pytest.raises(PickleError, match="too many fields"):
        read(doubled)


def test_an_array_of_objects_is_kept_and_not_made() -> None:
    found = read(pickle.dumps(np.array([1, None, "x"], object))).value
    assert found.data == [1, None, "x"]
    with pytest.raises(ValueError, match="objects"):
        found.array()


def test_strings_of_python_2() -> None:
    assert read(b"S'a\\x41\\n'\n.").value == "aA\n"
    assert read(b"U\x03\xff\x00\x41.").value == "\xff\x00A"
    assert read(b"T\x02\0\0\0\xc3\xa9.").value == "é"
    array = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\ntR"
    state = b"(I1\n(I2\ntcnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
    kept = read(array + state + b"I00\nU\x02\xc3\xa9tb.").value
    assert kept.array().tolist() == [0xC3, 0xA9]  # as bytes, though they could be read as one letter


def test_every_opcode_is_known() -> None:
    from avreview.load.pickles.opcodes import OPCODES

    documented = {ord(opcode.code) for opcode in pickletools.opcodes} - {ord(".")}
    assert set(OPCODES) == documented


# Names and calls


class _Net:
    pass


def test_an_object_is_a_record_of_what_was_not_made() -> None:
    net = _Net()
    net.__dict__.update(training=True, _parameters={}, _modules={}, p=0.5)
    for protocol in PROTOCOLS:
        found = read(pickle.dumps({"model": net, "again": net}, protocol))
        made = found.value["model"]
        assert isinstance(made, Instance)
        assert made is found.value["again"]
        assert made.of == Global(__name__, "_Net")
        assert made.how == "made"
        assert made.field("p") == 0.5
        (code,) = found.code
        assert code[:3] == (f"{__name__}._Net", "made", "data.pkl")
        assert code.is_module
        opcode = pickle.dumps({"model": net, "again": net}, protocol)[code.offset]
        assert opcode in b"c\x93"


def test_uses_are_told_apart() -> None:
    pickled = b"\x80\x02" + data(
        (glob("a", "mentioned"), call(glob("a", "called"), 1), Code(glob("a", "Made").opcodes + b")\x81"))
    )
    found = read(pickled + b".")
    assert [(code.name, code.use) for code in found.code] == [
        ("a.mentioned", "named"),
        ("a.called", "called"),
        ("a.Made", "made"),
    ]
    assert found.globals == [Global("a", "mentioned"), Global("a", "called"), Global("a", "Made")]
    mentioned, called, made = found.value
    assert mentioned == Global("a", "mentioned")
    assert (called.args, called.how) == ((1,), "called")
    assert (made.args, made.how) == ((), "made")


def test_one_class_made_as_a_module_and_otherwise_is_not_called_a_module() -> None:
    state: dict[str, Any] = {"_parameters": {}, "_modules": {}}
    net = glob("a", "Net").opcodes + b")\x81"
    assert read(whole(Code(net + data(state) + b"b"))).code[0].is_module
    assert not read(whole(Code(b"(" + net + data(state) + b"b" + net + b"t"))).code[0].is_module


def test_what_a_builder_knows_is_not_noted() -> None:
    made: list[Any] = []

    def rebuild(*args: Any) -> str:
        made.append(args)
        return "tensor"

    builders = {("torch._utils", "_rebuild_tensor_v2"): rebuild}
    pickled = whole(call(glob("torch._utils", "_rebuild_tensor_v2"), 1, 2))
    found = unpickle(pickled, builders=builders)
    assert (found.value, found.code, made) == ("tensor", [], [(1, 2)])
    assert found.globals == [Global("torch._utils", "_rebuild_tensor_v2")]


def test_a_builder_that_fails_is_an_error_in_words() -> None:
    def fail(*args: Any) -> Any:
        raise ValueError("storage 7")

    with pytest.raises(PickleError, match=r"makes 'a\.b' of the wrong parts \(storage 7\)"):
        unpickle(whole(call(glob("a", "b"))), builders={("a", "b"): fail})


def test_persistent_ids() -> None:
    for pickled, expected in ((b"Pkey\n.", "key"), (b"\x80\x02(X\x01\0\0\0aK\x07tQ.", ("a", 7))):
        assert unpickle(pickled, persistent=lambda key: [key]).value == [expected]
        with pytest.raises(PickleError, match="only its own program knows"):
            unpickle(pickled)


def test_an_attribute_of_a_name_is_a_longer_name() -> None:
    found = read(whole(call(call(glob("builtins", "getattr"), glob("os", "path"), "join"), "a")))
    assert [(code.name, code.use) for code in found.code] == [("os.path", "named"), ("os.path.join", "called")]
    own = call(glob("mypkg", "Net"))
    found = read(whole(call(call(glob("builtins", "getattr"), own, "forward"), "a")))
    assert [(code.name, code.use) for code in found.code][-1] == ("getattr(mypkg.Net(), 'forward')", "called")


def test_methods_that_opcodes_call_of_a_name() -> None:
    path = glob("sys", "path").opcodes
    for ending, method in (
        (b"Na", "extend"),
        (b"(Ne", "extend"),
        (b"NNs", "__setitem__"),
        (b"(N\x90", "add"),
        (b"Nb", "__setstate__"),
    ):
        found = read(whole(Code(path + ending)))
        assert (f"sys.path.{method}", "called") in [(code.name, code.use) for code in found.code]


def test_a_storage_with_a_checkpoint_inside_names_what_that_names() -> None:
    inner = b"\x80\x02K\x01." * 3 + whole(call(glob("evil", "run"), "x"), 2) + b"\x80\x02]." + b"\0" * 99
    found = read(whole(call(glob("torch.storage", "_load_from_bytes"), inner)))
    assert [(code.name, code.use) for code in found.code] == [("evil.run", "called")]
    found = read(whole(call(glob("torch.storage", "_load_from_bytes"), b"no pickle")))
    assert [(code.name, code.use) for code in found.code] == [("torch.storage._load_from_bytes", "called")]


def test_old_objects_and_their_bases() -> None:
    plain = call(glob("copy_reg", "_reconstructor"), glob("a", "Net"), glob("__builtin__", "dict"), {"x": 1})
    assert next((code.name, code.use) for code in read(whole(plain, 0)).code) == ("a.Net", "made")
    odd = call(glob("copy_reg", "_reconstructor"), glob("a", "Net"), glob("os", "system"), "id")
    assert ("os.system", "called") in [(code.name, code.use) for code in read(whole(odd, 0)).code]


# What looks odd and is read


def test_a_memo_of_any_number_takes_no_memory() -> None:
    tracemalloc.start()
    assert read(b"Nr\xff\xff\xff\xff0j\xff\xff\xff\xff.").value is None
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20


def test_a_value_shared_two_to_the_sixtieth_times_is_read() -> None:
    shared = read(b"]" + b"q\x00](h\x00h\x00e" * 60 + b".").value
    depth = 0
    while shared:
        assert shared[0] is shared[1]
        shared, depth = shared[0], depth + 1
    assert depth == 60


def test_what_refers_to_itself_is_read() -> None:
    found = read(b"]q\x00h\x00a.").value
    assert found[0] is found
    found = read(b"}q\x00X\x01\0\0\0ah\x00s.").value
    assert found["a"] is found
    node = read(whole(Code(glob("a", "Node").opcodes + b")\x81q\x00}X\x04\0\0\0selfh\x00sb"))).value
    assert node.field("self") is node
    through = read(b"]q\x00h\x00\x85\x85a.").value  # a tuple that holds the list that holds it
    assert through[0][0][0] is through


def test_keys_that_are_objects_are_kept_apart() -> None:
    net = glob("a", "Key").opcodes
    found = read(whole(Code(b"}(" + net + b")RK\x01" + net + b")RK\x02" + net + b"K\x03u"))).value
    assert sorted(found.values()) == [1, 2, 3]


def test_nan_and_negative_zero() -> None:
    found = read(pickle.dumps([float("nan"), -0.0, float("-inf")], 2)).value
    assert math.isnan(found[0])
    assert math.copysign(1, found[1]) == -1
    assert found[2] == -math.inf

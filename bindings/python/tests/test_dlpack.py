"""DLPack: tensors over frames without a copy."""

import gc

import numpy as np
import pytest

import framelane
from conftest import address, leases

DLPACK_1 = tuple(int(part) for part in np.__version__.split(".")[:2]) >= (2, 1)
needs_versioned = pytest.mark.skipif(
    not DLPACK_1, reason="numpy-2: numpy before 2.1 imports no read-only tensors"
)


@pytest.fixture
def frame(publisher, subscriber):
    publisher.send(np.arange(4 * 6 * 3, dtype="uint8").reshape(4, 6, 3))
    return subscriber.recv(timeout=10)


@needs_versioned
@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "int32", "float32", "float64", "float16"])
@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 3)])
def test_numpy_imports_a_frame_without_a_copy(publisher, subscriber, dtype, shape):
    image = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    publisher.send(image)
    frame = subscriber.recv(timeout=10)
    tensor = np.from_dlpack(frame)
    assert address(tensor) == address(frame.array)
    assert tensor.dtype == image.dtype and not tensor.flags.writeable
    np.testing.assert_array_equal(tensor, image)


@needs_versioned
def test_a_tensor_owns_the_lease(frame):
    tensor = np.from_dlpack(frame)
    frame.release()
    gc.collect()
    assert leases() == 1
    assert tensor[0, 0, 1] == 1
    del tensor
    gc.collect()
    assert leases() == 0


def test_a_capsule_that_nobody_imports_gives_the_lease_back(frame):
    capsule = frame.__dlpack__(max_version=(1, 0))
    assert "dltensor_versioned" in repr(capsule)
    frame.release()
    assert leases() == 1
    del capsule
    gc.collect()
    assert leases() == 0


def test_the_device_is_the_cpu(frame):
    assert frame.__dlpack_device__() == (1, 0)
    frame.__dlpack__(max_version=(1, 0), dl_device=(1, 0))
    with pytest.raises(BufferError, match="CPU"):
        frame.__dlpack__(max_version=(1, 0), dl_device=(2, 0))
    with pytest.raises(BufferError, match="stream"):
        frame.__dlpack__(max_version=(1, 0), stream=1)


@pytest.mark.parametrize("version", [None, (0, 8)])
def test_importer_without_read_only_tensors_gets_a_hint(frame, version):
    with pytest.raises(BufferError, match=r"frame\.copy\(\)"):
        frame.__dlpack__(max_version=version)


@pytest.mark.parametrize("version", [None, (1, 0), (2, 0)])
def test_a_copy_can_be_asked_for_and_is_writable(frame, version):
    class Exporter:
        def __dlpack__(self, **_):
            return frame.__dlpack__(max_version=version, copy=True)

        def __dlpack_device__(self):
            return frame.__dlpack_device__()

    if not hasattr(np, "from_dlpack") or (version is not None and not DLPACK_1):
        pytest.skip("numpy-2: this numpy does not import such tensors")
    tensor = np.from_dlpack(Exporter())
    frame.release()
    assert leases() == 0
    assert tensor.shape == (4, 6, 3) and tensor[3, 5, 2] == 71
    assert address(tensor) != 0
    if version is not None:
        assert tensor.flags.writeable
        tensor[:] = 1


@needs_versioned
def test_rows_with_padding_become_strides(publisher, subscriber):
    publisher._send_layout("matrix:u16:2", 3, 2, [(2, 20)], bytes(range(40)))
    frame = subscriber.recv(timeout=10)
    tensor = np.from_dlpack(frame)
    assert tensor.strides == frame.array.strides == (20, 4, 2)
    np.testing.assert_array_equal(tensor, frame.array)


def test_strides_that_are_no_multiple_of_the_element_are_refused(publisher, subscriber):
    publisher._send_layout("matrix:u16:2", 3, 2, [(0, 13)], bytes(range(26)))
    frame = subscriber.recv(timeout=10)
    assert frame.array.strides == (13, 4, 2)
    with pytest.raises(BufferError, match="13 bytes apart"):
        frame.__dlpack__(max_version=(1, 0))


def test_torch_takes_a_frame(frame):
    torch = pytest.importorskip("torch")
    copied = torch.from_dlpack(frame.copy())
    assert copied.shape == (4, 6, 3)
    try:
        tensor = torch.from_dlpack(frame)
    except BufferError:
        pytest.skip("torch: this torch imports no read-only tensors")
    assert tensor.data_ptr() == address(frame.array)


def test_jax_takes_a_frame_without_a_copy(frame):
    jax = pytest.importorskip("jax")
    tensor = jax.dlpack.from_dlpack(frame)
    assert tensor.unsafe_buffer_pointer() == address(frame.array)
    assert int(tensor[3, 5, 2]) == 71


def test_a_released_frame_exports_nothing(frame):
    frame.release()
    with pytest.raises(ValueError, match="released"):
        frame.__dlpack__(max_version=(1, 0))

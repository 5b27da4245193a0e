from __future__ import annotations

import numpy as np
import pytest
import wfdb

from ecgloss.data.wfdb.headers import InvalidRecordError, find_headers
from ecgloss.data.wfdb.records import read_record


def edit(header, old, new):
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


def test_a_record_is_read_in_millivolts_with_normalised_leads(write_record):
    signal = np.linspace(-2, 2, 2000).reshape(2, 1000)
    record = read_record(write_record("r", leads=("avr", "v1"), signal=signal))
    assert record.leads == ("aVR", "V1")
    assert record.sampling_rate == 100.0
    assert record.signal.dtype == np.float32
    np.testing.assert_allclose(record.signal, signal, atol=0.0006)  # half a count at 1000 counts per mV


@pytest.mark.parametrize(("unit", "millivolt"), [("mv", 1.0), ("MV", 1.0), ("uV", 1e-3), ("V", 1e3), ("nV", 1e-6)])
def test_other_units_are_converted(write_record, unit, millivolt):
    header = write_record("r")
    expected = read_record(header).signal * millivolt
    edit(header, "/mV", f"/{unit}")
    np.testing.assert_allclose(read_record(header).signal, expected, rtol=1e-6)


def test_microvolts_written_with_mu_are_not_taken_for_volts(write_record):
    header = write_record("r")
    expected = read_record(header).signal / 1000
    header.write_bytes(header.read_bytes().replace(b"/mV", b"/\xb5V"))
    np.testing.assert_allclose(read_record(header).signal, expected, rtol=1e-6)


def test_channels_that_are_not_voltages_are_left_out(write_record):
    header = write_record("r", leads=("II", "resp"))
    lines = header.read_text().splitlines()
    header.write_text("\n".join([lines[0], lines[1], lines[2].replace("/mV", "/Ohm")]))
    assert read_record(header).leads == ("II",)
    header.write_text(header.read_text().replace("/mV", "/mmHg"))
    with pytest.raises(InvalidRecordError, match="no channel is a voltage: the units are Ohm, mmHg"):
        read_record(header)


def test_repeated_lead_names_stay_apart(write_record):
    header = write_record("r", leads=("ECG", "ECH"))
    edit(header, "ECH", "ECG")
    assert read_record(header).leads == ("ECG", "ECG (2)")


def test_missing_samples_are_nan(write_record):
    signal = np.ones((2, 1000))
    signal[0, 10:20] = np.nan
    record = read_record(write_record("r", signal=signal))
    assert np.isnan(record.signal[0]).sum() == 10
    assert not np.isnan(record.signal[1]).any()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda h: h.with_suffix(".dat").unlink(), r"r\.dat is missing"),
        (lambda h: h.with_suffix(".dat").write_bytes(b""), r"r\.dat is empty"),
        (lambda h: h.with_suffix(".dat").write_bytes(h.with_suffix(".dat").read_bytes()[:-2]), "truncated: 3998 bytes"),
        (lambda h: h.with_suffix(".dat").write_bytes(b"\1" * 4000), "checksum of lead I is"),
        (lambda h: h.write_text(""), r"r\.hea is empty"),
        (lambda h: h.write_bytes(bytes(range(256))), "invalid header|not a file"),
        (lambda h: h.write_text("r 2 100 1000\n"), "2 signals announced, 0 described"),
        (lambda h: edit(h, "r.dat", "../r.dat"), "not a file in its own folder"),
        (lambda h: edit(h, "1000\n", "999999999999\n"), "truncated"),
        (lambda h: edit(h, "r 2 100", "r 2 100x"), "invalid header: sampling frequency '100x'"),
        (lambda h: edit(h, " 16 ", " 77 "), "cannot be read"),
    ],
)
def test_a_broken_record_says_in_one_line_what_is_wrong(write_record, damage, reason):
    header = write_record("r")
    damage(header)
    with pytest.raises(InvalidRecordError, match=reason) as caught:
        read_record(header)
    assert "\n" not in str(caught.value)


def test_no_damage_to_a_header_escapes_as_another_exception_or_as_a_wrong_signal(write_record):
    header = write_record("r", seed=5, comments=["Age: 50"])
    raw, good = header.read_bytes(), read_record(header)
    generator = np.random.default_rng(0)
    for position, byte in zip(generator.integers(0, len(raw), 300), generator.integers(0, 256, 300)):
        header.write_bytes(raw[:position] + bytes([byte]) + raw[position + 1 :])
        try:
            record = read_record(header)
        except InvalidRecordError as error:
            assert "\n" not in str(error)  # noqa: PT017
            continue
        if record.digital is not None and record.digital.shape == good.digital.shape:
            np.testing.assert_array_equal(record.digital, good.digital)


def test_a_record_of_nothing_but_missing_samples_is_refused(write_record):
    with pytest.raises(InvalidRecordError, match="every sample is missing"):
        read_record(write_record("r", signal=np.full((2, 1000), np.nan)))


def test_headers_with_zeros_for_checksums_are_accepted(write_record):
    header = write_record("r")
    lines = header.read_text().splitlines()
    for i in (1, 2):
        fields = lines[i].split()
        fields[6] = "0"
        lines[i] = " ".join(fields)
    header.write_text("\n".join(lines) + "\n")
    assert read_record(header).signal.shape == (2, 1000)


def test_channels_of_different_rates_share_the_highest(tmp_path):
    fast, slow = np.sin(np.arange(4000) / 20), np.sin(np.arange(1000) / 5)
    wfdb.wrsamp(
        "r",
        fs=100,
        units=["mV", "mV"],
        sig_name=["II", "V1"],
        e_p_signal=[fast, slow],
        samps_per_frame=[4, 1],
        fmt=["16", "16"],
        adc_gain=[1000.0, 1000.0],
        baseline=[0, 0],
        write_dir=str(tmp_path),
    )
    record = read_record(tmp_path / "r.hea")
    assert record.sampling_rate == 400.0
    assert record.signal.shape == (2, 4000)
    # linear interpolation of a wave of 31 samples per period
    np.testing.assert_allclose(record.signal[1, :3990], fast[:3990], atol=0.01)


def test_a_record_of_several_segments_is_one_recording_and_its_damage_is_found(write_record):
    first, second = write_record("m_1", seed=1, samples=600), write_record("m_2", seed=2, samples=400)
    header = first.with_name("m.hea")
    header.write_text("m/2 2 100 1000\nm_1 600\nm_2 400\n")
    record = read_record(header)
    expected = np.concatenate([read_record(first).signal, read_record(second).signal], axis=1)
    np.testing.assert_array_equal(record.signal, expected)
    assert list(find_headers(header.parent)) == [header]
    second.with_suffix(".dat").write_bytes(b"\1" * 1600)
    with pytest.raises(InvalidRecordError, match="checksum"):
        read_record(header)
    header.write_text("m/2 2 100 1000\nm 600\nm_2 400\n")
    with pytest.raises(InvalidRecordError, match="has segments itself"):
        read_record(header)
    header.write_text("m/2 2 100 1000\nm_1 600\n~ 99999999999\n")
    with pytest.raises(InvalidRecordError, match="too long"):
        read_record(header)


@pytest.mark.slow
@pytest.mark.parametrize(("database", "records"), [("ludb", 200), ("ptbxl", 505), ("challenge2021", 97), ("mitdb", 8)])
def test_every_real_record_matches_its_checksums(real_data, database, records):
    read, refused = 0, []
    for header in find_headers(real_data(database)):
        try:
            read_record(header)
            read += 1
        except InvalidRecordError as error:
            refused.append(str(error))
    assert read == records
    assert refused == []

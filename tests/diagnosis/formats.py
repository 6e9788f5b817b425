"""Writers of the formats that importers read: our own numbers in the shape of public files, with a known truth."""

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from tests.diagnosis.writers import HEADERS, columns_of, four, table_of

N = 24
ERRORS = four(N, onset=12)
CTR, RTR, CTE, RTE = "clean_error/train", "robust_error/train", "clean_error/test", "robust_error/test"
CVA, RVA = "clean_error/validation", "robust_error/validation"
ACC = {key: 1 - value for key, value in ERRORS.items()}
RICE = "[2020/03/01 12:34:56] - Namespace(attack='pgd', data_dir='../cifar-data', epsilon=8, model='PreActResNet18', norm='l_inf')"


@dataclass(frozen=True)
class Format:
    """A written file.

    Args:
        importer: name of the one that reads it.
        write: its text, or its bytes.
        truth: curve that is read -> curve that it was written from.
        first: the first epoch that is read.
        map: what `--map` says, where the refusal asks for it.
        atol: rounding of the writer.
        file: its name.
    """

    importer: str
    write: Callable[[], str | bytes]
    truth: Mapping[str, str] = field(default_factory=lambda: {key: key for key in (CTR, RTR, CTE, RTE)})
    first: int = 0
    map: str = ""
    atol: float = 1e-6
    file: str = "file"


TEST = {CTE: CTE, RTE: RTE}
HELD_OUT = {CVA: CTE, RVA: RTE}
NAMES = {"train_acc": CTR, "train_robust_acc": RTR, "test_acc": CTE, "test_robust_acc": RTE}


def plain() -> str:
    return table_of(columns_of(ERRORS, NAMES))


def lightning() -> str:
    """CSVLogger: rows of validation and of training, the loss of a step and of an epoch, the rate in rows of its own."""
    lines = ["epoch,lr-SGD,step,train_acc,train_loss_epoch,train_loss_step,train_robust_acc,val_acc,val_robust_acc"]
    for e in range(N):
        lines += [
            f",0.1,{100 * e},,,,,,",
            f"{e},,{100 * e + 50},,,1.2,,,",
            f"{e},,{100 * e + 99},,,,,{ACC[CTE][e]:.6f},{ACC[RTE][e]:.6f}",
            f"{e},,{100 * e + 99},{ACC[CTR][e]:.6f},1.1,,{ACC[RTR][e]:.6f},,",
        ]
    return "\n".join(lines) + "\n"


def wandb_chart() -> str:
    columns: dict[str, np.ndarray] = {"Step": np.arange(N)}
    for name, key in (("test/acc", CTE), ("test/robust_acc", RTE)):
        for end, shift in (("", 0), ("__MIN", -0.01), ("__MAX", 0.01)):
            columns[f"pgd at seed0 - {name}{end}"] = ACC[key] + shift
    return table_of(columns)


def wandb_history() -> str:
    columns = {"_runtime": np.arange(N) * 9.5, "_step": np.arange(N), "_timestamp": 1e9 + np.arange(N)}
    return table_of(columns | columns_of(ERRORS, {name.replace("_", "/", 1): key for name, key in NAMES.items()}))


def keras_history() -> str:
    names = {"accuracy": CTR, "adv_accuracy": RTR, "val_accuracy": CTE, "val_adv_accuracy": RTE}
    history = {name: ACC[key].tolist() for name, key in names.items()}
    return json.dumps({"history": {**history, "loss": [1.0] * N}, "epoch": list(range(N)), "params": {"epochs": N}})


def keras_csv() -> str:
    names = {"accuracy": CTR, "adv_accuracy": RTR, "loss": CTR, "val_accuracy": CTE, "val_adv_accuracy": RTE}
    return table_of(columns_of(ERRORS, names))


def keras_printed() -> str:
    lines: list[str] = []
    for e in range(N):
        lines.append(f"Epoch {e + 1}/{N}")
        bar = "391/391 [==============================] - 30s 70ms/step"
        lines.append(
            f"{bar} - accuracy: {ACC[CTR][e]:.6f} - adv_accuracy: {ACC[RTR][e]:.6f} - loss: 1.2345"
            f" - val_accuracy: {ACC[CTE][e]:.6f} - val_adv_accuracy: {ACC[RTE][e]:.6f} - val_loss: 1.5"
        )
    return "\n".join(lines) + "\n"


def hugging_face() -> str:
    """trainer_state.json: a row every few steps, and one for each evaluation."""
    rows: list[dict[str, object]] = []
    for e in range(N):
        rows.append({"epoch": e + 0.5, "grad_norm": 1.0, "learning_rate": 0.1, "loss": 1.0, "step": 100 * e + 50})
        rows.append({"epoch": e + 1.0, "eval_accuracy": ACC[CTE][e], "eval_robust_accuracy": ACC[RTE][e],
                     "eval_loss": 1.0, "eval_runtime": 3.0, "step": 100 * e + 100})  # fmt: skip
    state = {"best_metric": None, "epoch": float(N), "global_step": 100 * N, "log_history": rows, "max_steps": 100 * N}
    return json.dumps(state, indent=2)


def timm_summary() -> str:
    return table_of(
        columns_of(ERRORS, {"eval_top1": CTE, "eval_adv_top1": RTE}, percent=True) | {"lr": np.full(N, 0.1)}
    )


def deit() -> str:
    """log.txt: the robust accuracy beside the program's own columns."""
    rows = [{"train_lr": 0.01, "train_loss": 2.0, "test_loss": 1.0, "test_acc1": 100 * ACC[CTE][e], "test_acc5": 99.0,
             "test_adv_acc1": 100 * ACC[RTE][e], "epoch": e, "n_parameters": 86_000_000} for e in range(N)]  # fmt: skip
    return "\n".join(map(json.dumps, rows)) + "\n"


def nested_lines() -> str:
    rows = [{"epoch": e, "train": {"clean": {"acc": ACC[CTR][e]}, "pgd": {"acc": ACC[RTR][e]}},
             "test": {"clean": {"acc": ACC[CTE][e]}, "pgd": {"acc": ACC[RTE][e]}}} for e in range(N)]  # fmt: skip
    return "\n".join(map(json.dumps, rows)) + "\n"


def pandas_json() -> str:
    return json.dumps({name: {str(e): float(ACC[key][e]) for e in range(N)} for name, key in NAMES.items()})


def pandas_split() -> str:
    data = [[e, *(float(ACC[key][e]) for key in NAMES.values())] for e in range(N)]
    return json.dumps({"columns": ["epoch", *NAMES], "index": list(range(N)), "data": data})


def rice(head: str = RICE, bars: bool = False) -> str:
    """Twelve columns; between the rows what tqdm leaves."""
    lines = [head, f"[2020/03/01 12:34:56] - {HEADERS[0]}"]
    for e in range(N):
        if bars:
            lines.append(
                "\r".join(
                    f"{p}%|{'#' * (p // 10)}| {p}/100 [00:0{p % 9}<00:01, 9.9it/s, loss=1.2]" for p in (0, 50, 100)
                )
            )
        values = [f"{2 * ERRORS[CTR][e]:.4f} \t {ACC[CTR][e]:.6f} \t {2 * ERRORS[RTR][e]:.4f} \t {ACC[RTR][e]:.6f}",
                  f"{2 * ERRORS[CTE][e]:.4f} \t {ACC[CTE][e]:.6f} \t {2 * ERRORS[RTE][e]:.4f} \t {ACC[RTE][e]:.6f}"]  # fmt: skip
        lines.append(f"[2020/03/01 12:34:56] - {e} \t 150.0 \t 20.0 \t 0.1000 \t " + " \t \t ".join(values))
    return "\n".join(lines) + "\n"


def mlcat() -> str:
    """A header of four names over rows of 24 numbers."""
    lines = [RICE, "[2022/03/01 12:34:56] - Epoch \t Train Time \t Test Time \t LR"]
    for line in rice().splitlines()[2:]:
        lines.append(line + "".join(f" \t\t {0.05 * k:.4f}" for k in range(12)))
    return "\n".join(lines) + "\n"


def fast() -> str:
    """Five columns, of which Train Acc is measured on attacked examples, and one evaluation at the end."""
    stamp = "[2020/01/01 10:00:00] - "
    lines = [
        f"{stamp}Namespace(alpha=10, batch_size=128, data_dir='../../cifar-data', delta_init='random', epochs={N}, epsilon=8)",
        f"{stamp}Epoch \t Seconds \t LR \t \t Train Loss \t Train Acc",
    ]
    lines += [f"{stamp}{e} \t 12.3 \t \t 0.1000 \t {2 * ERRORS[RTR][e]:.4f} \t {ACC[RTR][e]:.6f}" for e in range(N)]
    lines += [f"{stamp}Total train time: 3.4567 minutes", f"{stamp}Test Loss \t Test Acc \t PGD Loss \t PGD Acc"]
    lines.append(f"{stamp}0.5000 \t \t {ACC[CTE][-1]:.6f} \t 1.4000 \t {ACC[RTE][-1]:.6f}")
    return "\n".join(lines) + "\n"


def mair() -> str:
    """Fixed width, rules between the rows, percent; FGSM and Gaussian noise beside PGD, and time."""

    def values(e: int) -> list[str]:
        percent = [100 * ACC[key][e] for key in (CTR, RTR, CTE, RTE)]
        train, test = ([percent[k], percent[k + 1] + 3, percent[k + 1], 70.0] for k in (0, 2))
        return [str(e + 1), "1.2345", *(f"{cell:.4f}" for cell in (*train, *test)), "0.1000", "0.2345"]

    names = [
        "Epoch",
        "CALoss",
        "Clean(Tr)",
        "FGSM(Tr)",
        "PGD(Tr)",
        "GN(Tr)",
        "Clean(Val)",
        "FGSM(Val)",
        "PGD(Val)",
        "GN(Val)",
        "lr",
        "s/it",
    ]
    widths = [max(len(name), len(value)) + 3 for name, value in zip(names, values(0), strict=True)]
    row = lambda cells: "".join(f"{cell:<{width}.{width}}" for cell, width in zip(cells, widths, strict=True))  # noqa: E731
    lines = [
        "[AT]",
        "Training Information.",
        f"-Epochs: {N}",
        "-Optimizer: SGD (",
        "    lr: 0.1",
        ")",
        "-" * sum(widths),
        row(names),
        "=" * sum(widths),
    ]
    for e in range(N):
        lines += [row(values(e)), "-" * sum(widths)]
    return (
        "\n".join(
            [
                *lines,
                "=" * sum(widths),
                f"Total Epoch: {N}",
                "Time Elapsed: 1:23:45",
                "Best Records: ",
                "- PGD(Val): 50.0",
            ]
        )
        + "\n"
    )


def trades_awp() -> str:
    """The logger of bearpaw: tabs, no epoch, percent."""
    lines = [
        "Learning Rate\tAdv Train Loss\tNat Train Loss\tNat Val Loss\tAdv Train Acc.\tNat Train Acc.\tNat Test Acc.\tAdv Test Acc.\t"
    ]
    for e in range(N):
        cells = [0.1, 1.5, 0.5, 0.6, *(100 * ACC[key][e] for key in (RTR, CTR, CTE, RTE))]
        lines.append("\t".join(f"{cell:.6f}" for cell in cells) + "\t")
    return "\n".join(lines) + "\n"


def _batches(e: int) -> list[str]:
    return [
        f"Train Epoch: {e + 1} [{128 * b}/50000 ({b / 3.91:.0f}%)]\tLoss: {2.5 - e / 50 + b / 1e4:.6f}"
        for b in range(0, 391, 100)
    ]


def _count(key: str, e: int, n: int = 10_000) -> str:
    right = round(float(ACC[key][e]) * n)
    return f"{right}/{n} ({100 * right / n:.0f}%)"


def trades(robust: bool = True) -> str:
    lines: list[str] = []
    for e in range(N):
        lines += [*_batches(e), "=" * 64]
        lines.append(f"Training: Average loss: 0.5432, Accuracy: {_count(CTR, e, 50_000)}")
        end = f", Robust Accuracy: {_count(RTE, e)}" if robust else ""
        lines += [f"Test: Average loss: 0.8765, Accuracy: {_count(CTE, e)}{end}", "=" * 64]
    return "\n".join(lines) + "\n"


def mart() -> str:
    lines: list[str] = []
    for e in range(N):
        lines += [*_batches(e), "=" * 64, f"natural_acc:  tensor({ACC[CTE][e]:.6f}, device='cuda:0')"]
        lines += [f"robust_acc:  tensor({ACC[RTE][e]:.6f}, device='cuda:0')", "using time: 123.4567890123", "=" * 64]
    return "\n".join(lines) + "\n"


def counts() -> str:
    """TRADES with its evaluation under attack in the loop: errors as counts, and those of every batch before them."""
    lines: list[str] = []
    for e in range(N):
        lines += [*_batches(e), "=" * 64, f"Test: Average loss: 2.9524, Accuracy: {_count(CTE, e, 2000)}"]
        lines += ["err pgd (white-box):  tensor(125., device='cuda:0')"] * 2
        lines.append(f"natural_err_total:  tensor({round(2000 * ERRORS[CTE][e])}., device='cuda:0')")
        lines.append(f"robust_err_total:  tensor({round(2000 * ERRORS[RTE][e])}., device='cuda:0')")
    return "\n".join(lines) + "\n"


def noilin() -> str:
    return "\n".join(
        f"Epoch: [{e + 1} | {N}] | Train Time: 99.12 s | BP Average: 9.00 | Natural Test Acc {ACC[CTE][e]:.6f} | "
        f"PGD20 Test Acc {ACC[RTE][e]:.6f} |\n" for e in range(N)
    )  # fmt: skip


def brackets() -> str:
    """Both parts in one line with percent signs, behind a logger's prefix."""
    return "".join(
        f"2024-01-01 10:00:00,123 INFO main: Epoch {e}: [train] loss 1.4, acc {100 * ACC[CTR][e]:.4f}%, "
        f"acc_pgd-10 {100 * ACC[RTR][e]:.4f}% [test] acc_clean {100 * ACC[CTE][e]:.4f}%, acc_pgd-50-10 {100 * ACC[RTE][e]:.4f}%\n"
        for e in range(N)
    )


def at_the_end() -> str:
    """The epoch stands below its values."""
    return "".join(
        f"Test clean acc: {ACC[CTE][e]:.6f}; PGD 20 Test Acc {ACC[RTE][e]:.6f}\nEpoch {e} took 12.3s\n"
        for e in range(N)
    )


def markdown() -> str:
    lines = ["# My runs", "", "| epoch | " + " | ".join(NAMES) + " |", "|---:|" + ":---|" * len(NAMES)]
    for e in range(N):
        lines.append(f"| {e} | " + " | ".join(f"**{ACC[key][e]:.6f}**" for key in NAMES.values()) + " |")
    return "\n".join([*lines, "", "Best at epoch 12."]) + "\n"


def printed_table() -> str:
    """What PrettyTable and tabulate draw."""
    rule = "+-------" * (1 + len(NAMES)) + "+"
    lines = [rule, "| epoch | " + " | ".join(NAMES) + " |", rule.replace("-", "=")]
    for e in range(N):
        lines += [f"| {e} | " + " | ".join(f"{ACC[key][e]:.6f}" for key in NAMES.values()) + " |", rule]
    return "\n".join(lines) + "\n"


def long_table() -> str:
    lines = ["run,tag,step,value"]
    for name, key in NAMES.items():
        lines += [f"pgd_at,{name.replace('_', '/', 1)},{e},{ACC[key][e]:.6f}" for e in range(N)]
    lines += [f"pgd_at,train/lr,{k},0.1" for k in range(0, 5 * N)]
    return "\n".join(lines) + "\n"


def long_parts() -> str:
    """Keras's callback: a run for each part."""
    lines = ["wall_time,run,tag,step,value"]
    for part, clean, robust in (("train", CTR, RTR), ("validation", CTE, RTE)):
        for tag, key in (("epoch_accuracy", clean), ("epoch_adv_accuracy", robust)):
            lines += [f"1e9,logs/{part},{tag},{e},{ACC[key][e]:.6f}" for e in range(N)]
    return "\n".join(lines) + "\n"


def decimal_commas() -> str:
    return plain().replace(",", ";").replace(".", ",")


def of_total() -> str:
    return "\n".join(
        [plain().splitlines()[0], *(f"{line.replace(',', f'/{N},', 1)}" for line in plain().splitlines()[1:])]
    )


def commented() -> str:
    return "# made by train.py\n# " + plain().replace(",", "\t")


# ------------------------------------------------------------------------------------------------------- TensorBoard

_TABLE = [0] * 256
for _byte in range(256):
    _c = _byte
    for _ in range(8):
        _c = (_c >> 1) ^ (0x82F63B78 if _c & 1 else 0)
    _TABLE[_byte] = _c


def masked_crc(content: bytes) -> int:
    """CRC-32C (Castagnoli), rotated and shifted as the TFRecord format says."""
    crc = 0xFFFFFFFF
    for byte in content:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    crc ^= 0xFFFFFFFF
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _varint(n: int) -> bytes:
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def _bytes_field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(content)) + content


def record(event: bytes) -> bytes:
    length = struct.pack("<Q", len(event))
    return length + struct.pack("<I", masked_crc(length)) + event + struct.pack("<I", masked_crc(event))


def scalar(step: int, tag: str, value: float, *, as_tensor: bool = False) -> bytes:
    """An event: wall_time 1, step 2, summary 5 with a value 1 of tag 1 and simple_value 2 or tensor 8."""
    number = b"\x15" + struct.pack("<f", value)
    if as_tensor:
        number = _bytes_field(8, b"\x08\x01" + _bytes_field(2, b"") + _bytes_field(5, struct.pack("<f", value)))
    summary = _bytes_field(1, _bytes_field(1, tag.encode()) + number)
    return record(b"\x09" + struct.pack("<d", 1e9) + b"\x10" + _varint(step) + _bytes_field(5, summary))


def tensorboard(as_tensor: bool = False) -> bytes:
    out = record(b"\x09" + struct.pack("<d", 1e9) + _bytes_field(3, b"brain.Event:2"))
    for e in range(N):
        for k in range(3):
            out += scalar(3 * e + k, "train/loss_step", 1.5, as_tensor=as_tensor)
        for name, key in NAMES.items():
            out += scalar(e, name.replace("_", "/", 1), float(ACC[key][e]), as_tensor=as_tensor)
    return out


FORMATS: dict[str, Format] = {
    "plain CSV": Format("CSV", plain),
    "Lightning CSVLogger": Format("CSV", lightning, {CTR: CTR, RTR: RTR} | HELD_OUT),
    "Weights & Biases chart": Format("CSV", wandb_chart, TEST, map="epoch=Step"),
    "Weights & Biases history": Format("CSV", wandb_history),
    "Keras CSVLogger": Format("CSV", keras_csv, {CTR: CTR, RTR: RTR} | HELD_OUT),
    "Keras History": Format("JSON", keras_history, {CTR: CTR, RTR: RTR} | HELD_OUT, atol=1e-9),
    "Keras's output": Format("printed text", keras_printed, {CTR: CTR, RTR: RTR} | HELD_OUT, first=1),
    "Hugging Face trainer_state.json": Format("JSON", hugging_face, TEST, first=1, atol=1e-9),
    "timm summary.csv": Format("CSV", timm_summary, TEST),
    "DeiT log.txt": Format("JSON", deit, TEST, atol=1e-9),
    "nested JSON lines": Format("JSON", nested_lines, atol=1e-9),
    "pandas to_json": Format("JSON", pandas_json, first=1, atol=1e-9),
    "pandas to_json(orient='split')": Format("JSON", pandas_split, atol=1e-9),
    "Rice et al., AWP": Format("text log", rice),
    "Rice et al. with progress bars": Format("text log", lambda: rice(bars=True)),
    "MLCAT": Format("text log", mlcat),
    "fast adversarial training": Format("log of fast adversarial training", fast, {RTR: RTR}),
    "MAIR log.txt": Format("MAIR's log", mair, {CTR: CTR, RTR: RTR} | HELD_OUT, first=1),
    "TRADES-AWP log.txt": Format("CSV", trades_awp, first=1, atol=1e-7),
    "TRADES's output": Format("printed text", trades, {CTR: CTR} | TEST, first=1, atol=5.1e-5),
    "MART's output": Format("printed text", mart, TEST, first=1),
    "counts of errors": Format("printed text", counts, TEST, first=1, atol=2.6e-4, map="count"),
    "NoiLIn's and GAIRAT's output": Format("printed text", noilin, TEST, first=1),
    "parts in brackets": Format("printed text", brackets),
    "the epoch below its values": Format("printed text", at_the_end, TEST),
    "Markdown": Format("Markdown table", markdown),
    "PrettyTable": Format("Markdown table", printed_table),
    "long table": Format("long table", long_table),
    "long table with a run for each part": Format("long table", long_parts, {CTR: CTR, RTR: RTR} | HELD_OUT),
    "decimal commas": Format("CSV", decimal_commas),
    "epochs such as 17/200": Format("CSV", of_total),
    "comments before the header": Format("CSV", commented),
    "TensorBoard, PyTorch": Format("TensorBoard events", tensorboard, file="events.out.tfevents.1"),
    "TensorBoard, TensorFlow 2": Format("TensorBoard events", lambda: tensorboard(True), file="events.out.tfevents.1"),
}
"""What it is -> how it is written and what must be read."""

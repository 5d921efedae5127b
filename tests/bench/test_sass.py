"""What is read in a disassembler's text: blocks, loops, ways, units, how long a warp alone takes."""

from __future__ import annotations

from gpunn.bench import sass

LATENCIES = {"shared": 20, "l1": 30, "l2": 200, "dram": 400}


def _text(*lines: str) -> str:
    """Labels as they are; all else is an instruction."""
    made = []
    for number, line in enumerate(lines):
        made.append(line if line.startswith(".L") else f"        /*{16 * number:04x}*/                   {line} ;")
    return "\n".join(made)


# A product in tiles: it fetches, waits, multiplies, waits; a way round the loop for few, and a slow way out of line.
TILED = _text(
    "MOV R1, c[0x0][0x28]",
    "@P0 BRA `(.L_slow)",
    ".L_loop:",
    "LDG.E.128 R4, [R2.64]",
    "STS.128 [R8], R4",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    "@P3 BRA `(.L_few)",
    "LDS.128 R12, [R9]",
    "FFMA R16, R12, R13, R16",
    "FFMA R17, R14, R15, R17",
    ".L_few:",
    "BAR.SYNC.DEFER_BLOCKING 0x0",
    "ISETP.GE.AND P1, PT, R20, R21, PT",
    "@!P1 BRA `(.L_loop)",
    "STG.E [R2.64], R16",
    "EXIT",
    ".L_slow:",
    "MUFU.RCP R30, R31",
    "STG.E [R2.64], R30",
    "EXIT",
    ".L_pad:",
    "BRA `(.L_pad)",
)


def test_the_way_that_multiplies_is_taken_and_the_loop_cut_at_barriers() -> None:
    once, products, fetches = sass.parts_of(TILED, LATENCIES)
    assert (once.part, products.part, fetches.part) == ("once", "loop0", "loop1")
    assert (once.instructions, once.lsu, once.stores, once.bytes, once.mufu, once.multiplied) == (4, 1, 1, 128, 0, 0)
    # From behind the first barrier to the second; from there through the jump back to the first.
    assert (products.instructions, products.fma, products.passes, products.multiplied) == (5, 2, 4, 64)
    assert (fetches.instructions, fetches.lsu, fetches.passes, fetches.bytes) == (5, 2, 4, 512)
    assert (products.barriers, fetches.barriers) == (1, 1)


def test_of_two_loops_of_which_one_runs_the_other_is_left_out() -> None:
    text = _text(
        "MOV R1, c[0x0][0x28]",
        "@P0 BRA `(.L_masked)",
        ".L_plain:",
        "LDG.E.128 R4, [R2.64]",
        "FFMA R16, R4, R5, R16",
        "@!P1 BRA `(.L_plain)",
        "STG.E [R2.64], R16",
        "BRA `(.L_end)",
        ".L_masked:",
        "LDG.E.128 R4, [R2.64]",
        "LDG.E.128 R8, [R2.64]",
        "FFMA R16, R4, R8, R16",
        "@!P1 BRA `(.L_masked)",
        "STG.E.128 [R2.64], R16",
        ".L_end:",
        "MUFU.RCP R30, R31",
        "EXIT",
    )
    once, loop = sass.parts_of(text, LATENCIES)
    assert (loop.instructions, loop.multiplied, loop.bytes) == (3, 32, 512)  # that which moves less
    assert (once.instructions, once.multiplied, once.stores, once.bytes, once.mufu) == (6, 0, 1, 128, 1)


def test_a_warp_alone_waits_for_what_it_needs() -> None:
    _, products, fetches = sass.parts_of(TILED, LATENCIES)
    # jump 1, load 2, its product at 22, the next at 23, the barrier at 24
    assert products.l1 == products.dram == 24
    # comparison 1, the jump that needs it at 5, load 6, the store that needs it, the barrier
    assert (fetches.l1, fetches.l2, fetches.dram) == (37, 207, 407)


def test_turns_without_barriers_overlap_but_for_what_one_leaves_to_the_next() -> None:
    text = _text(
        ".L_loop:",
        "LDG.E R4, [R2.64]",
        "FFMA R16, R4, R4, R16",
        "IADD3 R2, R2, 0x4, RZ",
        "@!P1 BRA `(.L_loop)",
        "EXIT",
    )
    once, loop = sass.parts_of(text, LATENCIES)
    assert (once.instructions, loop.instructions, loop.accesses, loop.bytes) == (1, 4, 1, 128)
    assert loop.l2 - loop.l1 == 170  # in order: each turn waits for its load
    assert loop.l1 == 35  # load 1, product 31, address 32, jump 33, and the next load when its address is there: 36


def test_units() -> None:
    text = _text(
        "IMAD.WIDE R2, R4, R5, R6",
        "F2I.TRUNC.NTZ R7, R7",
        "DFMA R8, R8, R8, R8",
        "SHFL.BFLY PT, R9, R9, 0x1, 0x1f",
        "HMMA.16816.F32.BF16 R12, R16, R20, R12",
        "HMMA.1688.F32.TF32 R12, R16, R20, R12",
        "LDSM.16.M88.4 R24, [R28]",
        "LDGSTS.E.BYPASS.128 [R30], [R32.64]",
        "EXIT",
    )
    (once,) = sass.parts_of(text, LATENCIES)
    assert (once.imad, once.convert, once.double, once.shuffle, once.lsu) == (1, 1, 1, 1, 2)
    assert once.tensor == 2048 + 2 * 1024
    assert once.multiplied == 2048 + 1024
    assert (once.passes, once.bytes, once.stores) == (4 + 4, 512, 0)


def test_a_call_that_is_a_jump_ends_a_loop() -> None:
    text = _text(
        ".L_loop:",
        "FFMA R16, R4, R4, R16",
        "@P0 CALL.REL.NOINC `(.L_out)",
        "BRA `(.L_loop)",
        ".L_out:",
        "EXIT",
    )
    once, loop = sass.parts_of(text, LATENCIES)
    assert (once.instructions, loop.instructions, loop.fma) == (1, 3, 1)

"""Is the write-ahead log whole? Asked before SQLite looks at it, which drops what it cannot read.

SQLite takes the log up to the first frame whose checksum is wrong and silently forgets the rest: right
for the commit that a power failure interrupted, and a loss of acknowledged commits for anything else.
With synchronous=FULL a commit is on the disk before the next one begins, so a commit that is not
readable and has another frame behind it was damaged afterwards. What cannot be told from an interrupted
commit is damage to the very last one, or to the mark that parts it from the one before. The format is
SQLite's, sqlite.org/fileformat2.html section 4.
"""

import struct
from pathlib import Path

_HEAD = 32
_FRAME = 24
_MAGIC = 0x377F0682  # the lowest bit tells the byte order of the checksums


def damage(path: Path) -> str | None:
    """What is wrong with a journal's log; none when it is whole, interrupted at its end or not there."""
    log = path.with_name(path.name + "-wal")
    if not log.exists():
        return None
    content = memoryview(log.read_bytes())
    if len(content) <= _HEAD + _FRAME:
        return None  # no commit was ever in it
    magic, _, page_size, _, salts, sums = struct.unpack(">IIII8s8s", content[:_HEAD])
    order = ">" if magic & 1 else "<"
    if magic & ~1 != _MAGIC or _add((0, 0), content[:24], order) != struct.unpack(">II", sums):
        return f"the head of {log.name} does not match its checksum"
    frame_size = _FRAME + page_size
    whole, running = 0, struct.unpack(">II", sums)
    places = range(_HEAD, len(content) - frame_size + 1, frame_size)
    for place in places:
        head = content[place : place + _FRAME]
        running = _add(running, head[:8], order)
        running = _add(running, content[place + _FRAME : place + frame_size], order)
        if head[8:16] != salts or struct.unpack(">II", head[16:]) != running:
            break
        whole += 1
    return _lost(content, places[whole:], salts, log.name)


def _lost(content: memoryview, places: range, salts: bytes, name: str) -> str | None:
    """Is there a whole commit among the frames that cannot be read?"""
    commit_at = None
    for place in places:
        head = content[place : place + _FRAME]
        if head[8:16] != salts:
            continue  # of an earlier round of the log
        if commit_at is not None:
            return f"{name}: a commit at byte {commit_at} cannot be read, and later ones lie behind it"
        if any(head[4:8]):  # the size of the file after it: not zero for a commit
            commit_at = place
    return None


def _add(sums: tuple[int, ...], content: memoryview, order: str) -> tuple[int, int]:
    """SQLite's checksum over so many bytes more."""
    one, two = sums
    words = struct.unpack(f"{order}{len(content) // 4}I", content)
    for first, second in zip(words[::2], words[1::2], strict=True):
        one = (one + first + two) & 0xFFFFFFFF
        two = (two + second + one) & 0xFFFFFFFF
    return one, two

"""Names of members: what they may be in the output, whatever an archive says."""

import hashlib
import re
import unicodedata
from pathlib import PurePosixPath

from datasets.page import IMAGE_SUFFIXES

PART_BYTES = 240  # bytes of one part of a path: file systems take 255, and a number or an extension may be added
_WHOLE_BYTES = 900  # bytes of a whole name: S3 takes 1,024 for a key
_UNSEEN = {"Cc", "Cf", "Cs", "Zl", "Zp"}  # control and format characters (bidi marks too), surrogates, line separators
_JUNK = frozenset({"thumbs.db", ".ds_store", "desktop.ini"})
_JUNK_ENDINGS = (":zone.identifier", "@synoeastream", "@synoresource")  # what Windows and Synology keep beside a file
# Folders in lower case: of macOS, Synology, QNAP, NetApp, Windows, ext4, GoodSync. Those with a dot need no list.
_JUNK_FOLDERS = frozenset(
    {"__macosx", "@eadir", "@tmp", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "~snapshot",
     "$recycle.bin", "recycler", "recycled", "system volume information", "found.000", "lost+found", "_gsdata_",
     "network trash folder", "temporary items"}
)  # fmt: skip
_DOT = re.compile(r"\.[^.]")
_FORBIDDEN = re.compile(r'[:<>|"?*]')
_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]) *(\..*)?", re.IGNORECASE)
_DRIVE = re.compile(r"^[A-Za-z]:")
_PART = re.compile(r"\.[r-z]\d\d")  # of an archive in several files: .r00, .z01
# What lies beside pages and is none. Files of these kinds are never opened to find out.
_OTHER_SUFFIXES = frozenset({
    ".7z", ".acbf", ".ai", ".bak", ".bat", ".bz2", ".cb7", ".cbr", ".cbt", ".cbz", ".cfg", ".clip", ".crdownload",
    ".css", ".csv", ".db", ".doc", ".docx", ".epub", ".exe", ".flac", ".gz", ".htm", ".html", ".ini", ".js",
    ".json", ".kra", ".lnk", ".log", ".m4a", ".md", ".md5", ".mkv", ".mobi", ".mp3", ".mp4", ".ncx", ".nfo", ".ogg",
    ".old", ".opf", ".orig", ".otf", ".par2", ".pdf", ".psd", ".py", ".rar", ".rtf", ".sai", ".sfv", ".sh", ".sha1",
    ".sha256", ".svg", ".tar", ".tbz2", ".tgz", ".tmp", ".toml", ".torrent", ".ttf", ".txt", ".txz", ".tzst",
    ".url", ".wav", ".webloc", ".webm", ".woff", ".woff2", ".xcf", ".xhtml", ".xml", ".xz", ".yaml", ".yml", ".zip",
    ".zst",
})  # fmt: skip


def junk_folder(name: str) -> str:
    """Return the folder of a path that makes what lies below it no part of a library; "" where there is none.

    NAS (`@eaDir`), bins (`#recycle`, `.Trash-1000`), synchronising (`.stversions`) and library programs
    (`.yacreaderlibrary`) keep thumbnails and deleted files in folders of their own. Any folder with a dot is one; two
    dots begin titles.
    """
    folders = name.split("/")[:-1]
    return next((folder for folder in folders if folder.lower() in _JUNK_FOLDERS or _DOT.match(folder)), "")


def is_junk(name: str) -> bool:
    """Return whether a member is something that systems and programs leave beside the pages."""
    path = name.replace("\\", "/")
    last = path.rpartition("/")[2].lower()
    return last.startswith("._") or last in _JUNK or last.endswith(_JUNK_ENDINGS) or bool(junk_folder(path))


def is_image(name: str) -> bool:
    """Return whether a member is a page by its name."""
    return PurePosixPath(name).suffix.lower() in IMAGE_SUFFIXES and not is_junk(name)


def may_be_image(name: str) -> bool:
    """Return whether a member's name leaves open what it is, so that only its first bytes tell if it is a page.

    So it is with an extension that is neither a page's nor one of what usually lies beside pages, and with none.
    """
    path = PurePosixPath(name)
    suffix = path.suffix.lower()
    known = suffix in IMAGE_SUFFIXES or suffix in _OTHER_SUFFIXES or _PART.fullmatch(suffix) is not None
    return not (known or path.name.startswith(".") or is_junk(name))


def composed(name: str) -> str:
    """Return a name for comparing: its composed form (NFC). Macs write the decomposed one, which looks the same."""
    return unicodedata.normalize("NFC", name)


def disk_name(name: str) -> str:
    """Return a name for comparing: two with the same result can not both exist on a disk of Windows or macOS.

    Case and Unicode form make no difference there; Windows drops dots and spaces at the end of a part, and programs
    that unpack there put '_' for what a name may not have.
    """
    folded = composed(unicodedata.normalize("NFD", name).casefold())
    return "/".join(_FORBIDDEN.sub("_", part.rstrip(" .")) for part in folded.split("/"))


def safe_name(name: str) -> str:
    """Return the name under which a member may be written.

    It is relative, without '..', visible, and no longer than file systems take. A name that is so already comes back as
    it is. Backslashes part folders, as they do on the systems that write them. What can't be seen becomes '_', which is
    put before the name of a Windows device (con.jpg) too. A part that is too long is cut, and gets a digest of the
    whole of it.
    """
    seen = "".join("_" if unicodedata.category(letter) in _UNSEEN else letter for letter in name.replace("\\", "/"))
    parts = [part for part in _DRIVE.sub("", seen).split("/") if part not in ("", ".", "..")]
    parts = [f"_{part}" if _DEVICE.fullmatch(part) else part for part in parts]
    safe = "/".join(map(short, parts)) or "unnamed"
    if len(safe.encode()) > _WHOLE_BYTES:
        safe = short(f"{hashlib.sha256(safe.encode()).hexdigest()[:16]}-{safe.rpartition('/')[2]}")
    return safe


def short(part: str) -> str:
    """Return one part of a path, no longer than PART_BYTES.

    A digest stands for what is cut off; the extension stays.
    """
    encoded = part.encode("utf-8", "surrogateescape")
    if len(encoded) <= PART_BYTES:
        return part
    suffix = PurePosixPath(part).suffix
    suffix = suffix if len(suffix) <= 16 and suffix.isascii() else ""
    mark = f"~{hashlib.sha256(encoded).hexdigest()[:8]}{suffix}"
    return encoded[: PART_BYTES - len(mark.encode())].decode(errors="ignore") + mark

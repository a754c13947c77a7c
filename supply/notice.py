"""`python -m supply.notice` writes NOTICE from the installed metadata; `--check` fails where the file is not up to date."""

import sys

from supply.lock import ROOT, Package, SupplyError, packages

NOTICE = ROOT / "NOTICE"
VENDORED = """The wheel and the image contain Swagger UI 5.35.0, Apache-2.0, unchanged, in api/viewer: Copyright 2020-2021 SmartBear Software Inc. Its
licence, its notice, the licences of what it bundles and the hashes of its files lie beside it.

The repository, but neither the wheel nor the image, contains the JSON Schema of AsyncAPI 3.1.0, Apache-2.0, unchanged, in tests/fixtures/asyncapi:
Copyright 2016-2025 AsyncAPI Initiative. Its licence, its notice and the hashes lie beside it."""
TEXT = """Beat

Beat itself is under the Apache License 2.0: see LICENSE.

The image installs the packages below, unchanged, beside Beat; the wheel contains none of them. Each keeps its own licence, whose text
is installed with it (`*.dist-info` in site-packages). This file is written by `make notice` from `requirements.image.lock`.

{table}

Vendored files
--------------

{vendored}

Packages under the GNU Lesser General Public License
----------------------------------------------------

{copyleft}

Beat imports these as separate, unmodified packages, so their licence does not extend to Beat or to code that uses Beat. The
licence sets no conditions on use, also in a company or to run a service. It sets conditions on everybody who passes on an image or another
bundle that contains the packages. In short (the licences themselves decide):

- Pass on this notice and the texts of the LGPL and the GPL.
- Make the packages' source code available in the version given above, or say where it is.
- Let the receiver replace the packages with other versions, as `pip install` in the image does, and do not forbid reverse engineering
  of the bundle for that purpose.
- If you changed one of the packages, publish the changes under the same licence.

pi-heif is under BSD-3-Clause itself. Its wheels contain compiled copies of libheif and libde265, which are under LGPL-3.0-or-later. The wheels
of pillow-heif, which the tests use, also contain x265 (GPL-2.0-or-later): the image does not contain pillow-heif.

psycopg-binary also contains compiled copies of libpq (PostgreSQL License), OpenSSL (Apache-2.0), MIT Kerberos, OpenLDAP and Cyrus SASL
(permissive licences of their own), and of libxcrypt and keyutils (LGPL-2.1-or-later). An installation that must not contain them installs
psycopg without its extra `binary` and uses the system's libpq.
"""


def notice(found: list[Package]) -> str:
    """The text of NOTICE."""
    name, version = (max(len(getattr(one, part)) for one in found) for part in ("name", "version"))
    table = "\n".join(f"{one.name:<{name}}  {one.version:<{version}}  {one.licence}" for one in found)
    copyleft = "\n".join(f"{one.name} {one.version}, {one.licence}: {one.source}" for one in found if one.copyleft)
    return TEXT.format(table=table, vendored=VENDORED, copyleft=copyleft)


def main() -> int:
    try:
        text = notice(packages())
    except SupplyError as error:
        print(error, file=sys.stderr)
        return 1
    if "--check" not in sys.argv:
        NOTICE.write_text(text)
    elif not NOTICE.exists() or NOTICE.read_text() != text:
        print("NOTICE does not agree with requirements.image.lock: run `make notice`", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

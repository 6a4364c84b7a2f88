"""Real-shaped strings to measure redaction with: secrets of every kind, and what looks like them.

All are made up: random-looking parts come from generators with fixed seeds, numbers from the
plans of countries, names from nowhere. What is to be found stands between ⟦ and ⟧. Keys are put
together at run time so that no scanner takes this file for a leak.
"""

from __future__ import annotations

import base64
import random
import re
import string
import uuid
from collections.abc import Callable, Iterator
from typing import NamedTuple

import phonenumbers

LETTERS = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits


class Example(NamedTuple):
    """A text, where something is to be found in it, and of which kind; or a text of no secret."""

    kind: str
    text: str
    spans: tuple[tuple[int, int], ...]
    group: str  # of what it is an example


def examples() -> list[Example]:
    """All examples, always the same."""
    holding = [*_keys(), *_private_keys(), *_passwords(), *_emails(), *_cards(), *_phones()]
    return [*holding, *_hard_ones(), *_look_alikes()]


def _example(kind: str, marked: str, group: str) -> Example:
    plain, spans, start = "", [], 0
    for piece in re.split("([⟦⟧])", marked):
        if piece == "⟧":
            spans.append((start, len(plain)))
        elif piece == "⟦":
            start = len(plain)
        else:
            plain += piece
    return Example(kind, plain, tuple(spans), group)


class _Draw:
    """Random-looking parts from a generator with a seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def any(self, length: int, alphabet: str = LETTERS) -> str:
        """Signs of an alphabet, digits among them."""
        signs = [self.random.choice(alphabet) for _ in range(length)]
        for place in range(3, length, 9):
            signs[place] = self.random.choice("23456789")
        return "".join(signs)

    def hex(self, length: int) -> str:
        """Hexadecimal digits."""
        return self.any(length, HEX)


# ------------------------------------------------------------------------------------------- keys

_KEY_FORMS: tuple[tuple[str, Callable[[_Draw], str]], ...] = (
    ("x-api-key: ⟦{}⟧\nAccept: text/html", lambda d: d.hex(40)),
    ("X-Api-Key:⟦{}⟧", lambda d: d.any(32)),
    ("apikey: ⟦{}⟧", lambda d: d.hex(32)),
    ("GET https://api.acme.io/v1?apikey=⟦{}⟧&q=x", lambda d: d.hex(32)),
    ("curl -H 'x-api-key: ⟦{}⟧' https://api.acme.io", lambda d: d.any(40)),
    ('curl -H "Authorization: Bearer ⟦{}⟧" https://api.acme.io', lambda d: d.any(44)),
    ("-H 'Authorization: Token ⟦{}⟧'", lambda d: d.hex(40)),
    ("-H 'X-Auth-Token: ⟦{}⟧'", lambda d: d.any(32)),
    ("curl --header 'PRIVATE-TOKEN: ⟦{}⟧'", lambda d: "glpat-" + d.any(20)),
    ("Authorization: Basic ⟦{}⟧", lambda d: d.any(35) + "="),
    ("client_secret=⟦{}⟧&grant_type=client_credentials", lambda d: d.any(40)),
    ('"client_secret": "⟦{}⟧"', lambda d: d.any(24)),
    ("clientSecret: '⟦{}⟧'", lambda d: d.any(32)),
    ("client-secret: ⟦{}⟧", lambda d: d.any(32)),
    ("consumer_secret = ⟦{}⟧", lambda d: d.any(50)),
    ("app_secret: ⟦{}⟧", lambda d: d.hex(32)),
    ("JWT_SECRET=⟦{}⟧", lambda d: d.any(48)),
    ("NEXTAUTH_SECRET=⟦{}⟧", lambda d: d.any(43) + "="),
    ("SESSION_SECRET='⟦{}⟧'", lambda d: d.any(32)),
    ("SECRET_KEY = '⟦{}⟧'", lambda d: "django-insecure-" + d.any(34, LETTERS + "#!@%^&*-_=+")),
    ("SECRET_KEY = '⟦{}⟧'", lambda d: d.any(50, LETTERS + "#!@%^&*-_=+")),
    ("app.secret_key = '⟦{}⟧'", lambda d: d.hex(32)),
    ("app.config['SECRET_KEY'] = '⟦{}⟧'", lambda d: d.hex(48)),
    ("APP_KEY=base64:⟦{}⟧", lambda d: d.any(43) + "="),
    ("  secret_key_base: ⟦{}⟧", lambda d: d.hex(128)),
    ("RAILS_MASTER_KEY=⟦{}⟧", lambda d: d.hex(32)),
    ("define('AUTH_KEY', '⟦{}⟧');", lambda d: d.any(64, LETTERS + "!@#%^&*()-_ []+=~|?.,:;")),
    ("encryption_key = '⟦{}⟧'", lambda d: d.hex(64)),
    ("OPENAI_API_KEY=⟦{}⟧", lambda d: "sk-" + d.any(48)),
    ("openai.api_key = '⟦{}⟧'", lambda d: "sk-proj-" + d.any(64)),
    ("My key is ⟦{}⟧, why does it fail?", lambda d: "sk-ant-api03-" + d.any(80)),
    ("login(token='⟦{}⟧')", lambda d: "hf_" + d.any(34, string.ascii_letters)),
    ("git clone https://⟦{}⟧@github.com/acme/x.git", lambda d: "ghp_" + d.any(36)),
    ("GITHUB_TOKEN: ⟦{}⟧", lambda d: "gho_" + d.any(36)),
    ("aws_access_key_id = ⟦{}⟧", lambda d: "AKIA" + d.any(16, UPPER)),
    ("AWS_SECRET_ACCESS_KEY=⟦{}⟧", lambda d: d.any(40, LETTERS + "/+")),
    ("const key = '⟦{}⟧';", lambda d: "AIza" + d.any(35)),
    ("SLACK_BOT_TOKEN=⟦{}⟧", lambda d: "xoxb-2345678901-3456789012-" + d.any(24)),
    ("stripe.api_key = '⟦{}⟧'", lambda d: "sk_live_" + d.any(24)),
    ("SENDGRID=⟦{}⟧", lambda d: "SG." + d.any(22) + "." + d.any(43)),
    ("bot = Bot('⟦{}⟧')", lambda d: d.any(10, "23456789") + ":AA" + d.any(33)),
    ("//registry.npmjs.org/:_authToken=⟦{}⟧", lambda d: "npm_" + d.any(36)),
    ("cookie: session=⟦{}⟧; path=/", lambda d: _web_token(d)),
    ("AccountKey=⟦{}⟧;EndpointSuffix=core.windows.net", lambda d: d.any(86) + "=="),
    ("SharedAccessKeyName=Root;SharedAccessKey=⟦{}⟧", lambda d: d.any(43) + "="),
    ("doctl auth init -t ⟦{}⟧", lambda d: "dop_v1_" + d.hex(64)),
    ("TWINE_PASSWORD=⟦{}⟧", lambda d: "pypi-AgEIcHlwaS5vcmc" + d.any(120)),
    ("access_token: ⟦{}⟧", lambda d: "ya29." + d.any(60)),
    ("refresh_token=⟦{}⟧", lambda d: d.any(64)),
    ("TWILIO = '⟦{}⟧'", lambda d: "SK" + d.hex(32)),
)


def _web_token(draw: _Draw) -> str:
    payload = base64.urlsafe_b64encode(f'{{"uid": "{draw.any(20)}"}}'.encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{payload}.{draw.any(43)}"


_BROKEN: tuple[tuple[str, Callable[[_Draw], str], int], ...] = (
    ("token = '⟦{} \\\n  {}⟧'", lambda d: "ghp_" + d.any(36), 20),
    ('key = "⟦{}" +\n   "{}⟧"', lambda d: "sk-" + d.any(48), 15),
    ("$key = '⟦{}' . '{}⟧';", lambda d: "sk-" + d.any(48), 30),
    ("api_key = '⟦{}'\n    '{}⟧'", lambda d: d.any(32), 16),
    ("AWS_SECRET_ACCESS_KEY=⟦{}\\\n{}⟧", lambda d: d.any(40), 21),
    ("export GITHUB_TOKEN=⟦{}\n{}⟧\n", lambda d: "ghp_" + d.any(36), 12),
    ("> OPENAI_API_KEY=⟦{}\n> {}⟧\n> Thanks", lambda d: "sk-proj-" + d.any(90), 57),
    ("x-api-key: ⟦{}=\n{}⟧", lambda d: d.hex(64), 61),
    ("Authorization: Bearer ⟦{}\n{}⟧\n", lambda d: d.any(90), 54),
)


def _keys() -> Iterator[Example]:
    for number, (form, make) in enumerate(_KEY_FORMS):
        for draw in (_Draw(f"key {number} {again}") for again in range(2)):
            yield _example("key", form.format(make(draw)), "keys")
    for number, (form, make, place) in enumerate(_BROKEN):
        for draw in (_Draw(f"broken {number} {again}") for again in range(2)):
            key = make(draw)
            first, rest = (
                (f"{key[:place]}'", f"'{key[place:]}")
                if " \\" in form
                else (
                    key[:place],
                    key[place:],
                )
            )
            yield _example("key", form.format(first, rest), "broken keys")


def _private_keys() -> Iterator[Example]:
    for name in ("RSA PRIVATE KEY", "PRIVATE KEY", "EC PRIVATE KEY", "OPENSSH PRIVATE KEY"):
        for lines, sign in ((6, "\n"), (25, "\n"), (6, "\\n")):
            draw = _Draw(f"{name} {lines} {sign}")
            body = sign.join(draw.any(64, LETTERS + "+/") for _ in range(lines))
            text = f"⟦-----BEGIN {name}-----{sign}{body}{sign}-----END {name}-----⟧"
            yield _example("private_key", text, "private keys")


# -------------------------------------------------------------------------------------- passwords

_PASSWORD_FORMS = (
    "redis://:⟦{}⟧@cache.acme.io:6379/0",
    "rediss://default:⟦{}⟧@cache.acme.io",
    "amqp://jane:⟦{}⟧@mq.acme.io:5672/v",
    "mongodb+srv://jane:⟦{}⟧@c0.acme.io/x?retryWrites=true",
    "DATABASE_URL=postgres://jane:⟦{}⟧@db.acme.io:5432/shop",
    "create_engine('postgresql+psycopg2://jane:⟦{}⟧@db/shop')",
    "mysql://jane:⟦{}⟧@db.acme.io/shop",
    "git clone https://jane:⟦{}⟧@git.acme.io/x.git",
    "ftp://jane:⟦{}⟧@files.acme.io/in",
    "smtp://jane%40acme.io:⟦{}⟧@smtp.acme.io:587",
    "jdbc:sqlserver://db:1433;databaseName=x;user=jane;password=⟦{}⟧;encrypt=true",
    "jdbc:mysql://db.acme.io/x?user=jane&password=⟦{}⟧&useSSL=true",
    "jdbc:oracle:thin:jane/⟦{}⟧@db.acme.io:1521:orcl",
    "Driver={{ODBC Driver 17 for SQL Server}};Server=db;Database=x;UID=jane;PWD=⟦{}⟧;",
    "Server=db.acme.io;Database=x;User Id=jane;Password=⟦{}⟧;",
    "Data Source=db;Initial Catalog=x;User ID=jane;Password='⟦{}⟧'",
    "host=db.acme.io port=5432 dbname=x user=jane password=⟦{}⟧ sslmode=require",
    'password="⟦{}⟧"',
    "db_password = '⟦{}⟧'",
    "'passwd' => '⟦{}⟧',",
    '{{"user": "jane", "password": "⟦{}⟧"}}',
    "DB_PASSWORD=⟦{}⟧",
    "spring.datasource.password=⟦{}⟧",
    "  password: ⟦{}⟧",
    "export PGPASSWORD=⟦{}⟧",
    "mysql -h db.acme.io -u root -p⟦{}⟧ shop",
    "sshpass -p '⟦{}⟧' ssh jane@host",
    "curl -u jane:⟦{}⟧ https://api.acme.io/x",
    "psql --password=⟦{}⟧",
    "redis-cli -h cache.acme.io -a ⟦{}⟧",
)
_PASSWORDS = ("h0rse-Battery", "kV7#tq2Lw9", "Regen42!Zug")


def _passwords() -> Iterator[Example]:
    for number, form in enumerate(_PASSWORD_FORMS):
        for value in (_PASSWORDS[number % 3], _PASSWORDS[(number + 1) % 3]):
            in_address = "://" in form and "=⟦" not in form
            shown = value.replace("#", "%23") if in_address else value
            yield _example("password", form.format(shown), "passwords")


# ----------------------------------------------------------------------------- addresses and cards

_EMAIL_FORMS = (
    "Write to ⟦{0}⟧.",
    "<mailto:⟦{0}⟧>",
    "Ann Roe <⟦{0}⟧>",
    "[{0}](mailto:⟦{0}⟧)".replace("[{0}]", "[⟦{0}⟧]"),
    "e-mail:⟦{0}⟧",
    "(⟦{0}⟧)",
    "To: ⟦{0}⟧Cc: Bob",
    "From: ⟦{0}⟧To: Bob",
    "⟦{0}⟧Subject: Hello",
    "⟦{0}⟧; ⟦{0}⟧, ⟦{0}⟧",
    "邮箱⟦{0}⟧请联系",
    '"email": "⟦{0}⟧",',
    "name,⟦{0}⟧,Berlin",
    r"\n⟦{0}⟧\n",
    "_⟦{0}⟧_ and **⟦{0}⟧**",
    "⟦{0}⟧/⟦{0}⟧",
    "author = 'Ann <⟦{0}⟧>'",
    "⟦{0}⟧ schrieb am 3. Mai:",
)
_MAILBOXES = (
    "jane.roe@acme-labs.com",
    "j_roe+lists@mail.acme.co.uk",
    "Anna.Müller@acme-bücher.de",
    "x9@acme.io",
)


def _emails() -> Iterator[Example]:
    for number, form in enumerate(_EMAIL_FORMS):
        for again in range(2):
            mailbox = _MAILBOXES[(number + 2 * again + number // 4) % len(_MAILBOXES)]
            yield _example("email", form.format(mailbox), "addresses")


_CARDS = (("4", "4444"), ("52", "4444"), ("37", "465"), ("6011", "4444"), ("4", "16"), ("54", "16"))
_CARD_FORMS = ("pay with ⟦{}⟧ now", "Card: ⟦{}⟧, exp. 04/29", '"number": "⟦{}⟧"')


def _cards() -> Iterator[Example]:
    for number, (start, sizes) in enumerate(_CARDS):
        for again, form in enumerate(_CARD_FORMS):
            digits = _with_check(start + _card_digits(number, again, start, sizes))
            yield _example("card", form.format(_sized(digits, sizes, " -"[again % 2])), "cards")


def _card_digits(number: int, again: int, start: str, sizes: str) -> str:
    length = {"465": 15}.get(sizes, 16)
    return _Draw(f"card {number} {again}").any(length - 1 - len(start), string.digits)


def _sized(digits: str, sizes: str, sign: str) -> str:
    if sizes == "16":
        return digits
    ends = [sum(map(int, sizes[: place + 1])) for place in range(len(sizes))]
    return sign.join(digits[end - int(size) : end] for size, end in zip(sizes, ends, strict=True))


def _with_check(digits: str) -> str:
    """Digits with their check digit (Luhn) behind."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return digits + str(-total % 10)


# ----------------------------------------------------------------------------------------- phones

# By country, with the language that brings it: as people write, # for a digit.
PHONES: tuple[tuple[str, str, str], ...] = (
    ("fr", "FR", "06 ## ## ## ##"),
    ("fr", "FR", "07.##.##.##.##"),
    ("fr", "FR", "01-##-##-##-##"),
    ("fr", "FR", "Tél : 06########"),
    ("fr", "FR", "+33 6 ## ## ## ##"),
    ("fr", "FR", "0033 6 ## ## ## ##"),
    ("fr", "BE", "0471 ## ## ##"),
    ("fr", "BE", "02 5## ## ##"),
    ("fr", "CH", "022 7## ## ##"),
    ("de", "DE", "0171 #######"),
    ("de", "DE", "0151/########"),
    ("de", "DE", "0176-########"),
    ("de", "DE", "0160 ### ## ##"),
    ("de", "DE", "030 ########"),
    ("de", "DE", "(089) #######"),
    ("de", "DE", "040 / #######"),
    ("de", "DE", "Tel. 0221 ## ## ##"),
    ("de", "DE", "+49 (0)30 #######"),
    ("de", "AT", "0664 #######"),
    ("de", "CH", "079 ### ## ##"),
    ("en", "US", "(212) 7##-####"),
    ("en", "US", "415.5##.####"),
    ("en", "US", "1-800-4##-####"),
    ("en", "GB", "020 7### ####"),
    ("en", "GB", "077## ######"),
    ("en", "GB", "077## ### ###"),
    ("en", "GB", "0161 4## ####"),
    ("en", "AU", "04## ### ###"),
    ("en", "AU", "(02) 9### ####"),
    ("en", "IE", "087 ### ####"),
    ("en", "NZ", "021 ### ####"),
    ("en", "IN", "call me at 98### #####"),
    ("en", "IN", "+91-98###-#####"),
    ("en", "ZA", "082 ### ####"),
    ("es", "ES", "6## ## ## ##"),
    ("es", "ES", "Tel. 6## ### ###"),
    ("es", "MX", "llámame al 55 #### ####"),
    ("it", "IT", "06 #### ####"),
    ("it", "IT", "cellulare 347 #######"),
    ("it", "IT", "+39 347 ### ####"),
    ("pt", "BR", "(11) 9####-####"),
    ("pt", "PT", "telefone: 91# ### ###"),
    ("nl", "NL", "06-########"),
    ("nl", "NL", "020 #######"),
    ("ja", "JP", "090-####-####"),
    ("ja", "JP", "03-####-####"),
    ("ko", "KR", "010-####-####"),
    ("zh", "CN", "手机：138########"),
    ("zh", "CN", "139 #### ####"),
    ("ru", "RU", "8 (912) ###-##-##"),
    ("ru", "RU", "тел. 8 916 ### ## ##"),
    ("pl", "PL", "tel. 60# ### ###"),
    ("tr", "TR", "0532 ### ## ##"),
    ("sv", "SE", "070-### ## ##"),
    ("hu", "HU", "06 30 ### ####"),
    ("uk", "UA", "067 ### ## ##"),
)


def _phones() -> Iterator[Example]:
    for number, (language, country, form) in enumerate(PHONES):
        for again in range(2):
            yield _example("phone", _numbered(number, again, country, form), f"phones {language}")


def _numbered(number: int, again: int, country: str, form: str) -> str:
    """A text with a number that the country may have, behind the words of the form."""
    draw = _Draw(f"phone {number} {again}")
    start = next(place for place, sign in enumerate(form) if sign in "(+0123456789#")
    while True:
        digits = "".join(
            draw.random.choice("23456789") if sign == "#" else sign for sign in form[start:]
        )
        parsed = phonenumbers.parse(digits, country)
        if phonenumbers.is_valid_number(parsed):
            return f"Hello, {form[:start]}⟦{digits}⟧, thanks."


# ------------------------------------------------------------------------------ known to be missed

_HARD: tuple[tuple[str, str], ...] = (
    ("key", "'key' => '⟦{}⟧',"),
    ("key", "it is ⟦{}⟧, keep it for yourself"),
    ("key", "export TOKEN=⟦{}\n{}⟧\n"),
    ("password", "my password is ⟦h0rse-Battery9⟧"),
    ("password", "password = '⟦correct-horse-battery-staple⟧'"),
    ("email", "⟦jane [at] acme-labs [dot] com⟧"),
    ("phone", "⟦612 345 678⟧"),
    ("phone", "⟦98765 43210⟧"),
    ("phone", "⟦0698765432⟧"),
)


def _hard_ones() -> Iterator[Example]:
    """Yields what a reader takes for a secret and a rule cannot tell from other text."""
    for kind, form in _HARD:
        draw = _Draw(form)
        yield _example(kind, form.format(draw.any(24), draw.any(20)), "hard ones")


# ------------------------------------------------------------------------------------ look-alikes

_NO_SECRETS = """
api_key = "YOUR_API_KEY_GOES_HERE_1234"
api_key = "<your-api-key>"
x-api-key: ${API_KEY}
x-api-key: {{ api_key }}
Authorization: Bearer YOUR_ACCESS_TOKEN
Authorization: Bearer $TOKEN
Authorization: Bearer {access_token_of_the_user_1}
client_secret=CLIENT_SECRET_PLACEHOLDER_1
client_secret = os.environ["CLIENT_SECRET_V2"]
OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx
OPENAI_API_KEY=sk-...
aws_access_key_id = AKIAIOSFODNN7EXAMPLE
token = get_token_from_the_environment_v2()
auth_token = request.headers["X-Auth-Token-V2"]
access_token = response.json()["access_token"]
secret_key = models.CharField(max_length=64)
SECRET_KEY = config("SECRET_KEY_OF_DJANGO_42")
SECRET_KEY = "change-me-before-production-2024"
app.secret_key = os.urandom(24)
secret = generate_secret_of_length(32)
api_key: str = Field(default="", max_length=64)
key = "the quick brown fox jumps over 13 lazy dogs"
tokenizer = AutoTokenizer.from_pretrained("acme/model-7b-v2")
password = input("Password: ")
password = "password123"
password = "P@ssw0rd!"
password = "YourStrong@Passw0rd"
password="changeme123"
password: 'MyPassword123!'
passwd = "testPass1"
pwd = os.getcwd1()
$password = $_POST['password'];
password = form.cleaned_data["password1"]
password: user.password1,
PASSWORD=${DB_PASSWORD_1}
DB_PASSWORD=secret123
Server=db;User Id=sa;Password=P@ssw0rd123;
Server=db;User Id=sa;Password=<password>;
host=db user=jane password=$PGPASSWORD_1
postgres://user:password@localhost/db
postgres://postgres:postgres@db:5432/app
mysql://root:secret123@db
redis://:${REDIS_PASSWORD}@redis:6379
redis://localhost:6379/0
mongodb://<name>:<password>@x.mongodb.net
amqp://guest:guest@localhost:5672/
https://user:PASSWORD@host/
http://localhost:8080/@x
mysql -u root -p mydatabase1
mysql -u root -pYOUR_PASSWORD shop
curl -u user:password123 https://api.acme.io
curl -u username:$TOKEN https://api.acme.io
<input type="password" name="password1">
input[name="password"]#login-Form1
if password == confirm_password1:
labels: {password: "Passwort-Feld1"}
git@github.com:acme/x.git
you@example.com and me@example.org
john@yourdomain.com
user@localhost, root@host.local
react@18.2.0 and @types/node@20.1.0
pip install git+https://github.com/acme/x@main.dev
y = (W@x.to(device))[0]
q@k.toDevice(x)
@app.get('/x') and @router.post('/y')
@acme.com on the bird site
a @ b.com
openvpn@server.service
docker pull acme.io/library/nginx@sha256
npm i left-pad@1.3.0
-----BEGIN PUBLIC KEY-----
-----BEGIN RSA PRIVATE KEY-----\n...\n-----END RSA PRIVATE KEY-----
-----BEGIN PRIVATE KEY----- is how such a file begins.
4242 4242 4242 4242
4111111111111111
378282246310005
5555 5555 5555 4444
1234 5678 9012 3456
4539 1488 0343 6468
ISBN 978-0-306-40615-7
ISBN 0-306-40615-2
ISBN-10: 0306406152
978-3-16-148410-0
EAN 4006381333931
DE89 3704 0044 0532 0130 00
FR76 3000 6000 0112 3456 7890 189
GB29 NWBK 6016 1331 9268 19
600 000 000
1 234 567 890
12 345 678,90 EUR
$1,234,567.89
(1,234,567)
3.14159265358979
0.1712345678
0.123 0.456 0.789 0.012
-73.935242 40.730610
48.8566, 2.3522
2147483647 and 4294967296
1672531199
1700000000000
2023-01-15 09:12:34,567 INFO start
[2024-02-03T04:05:06.789Z] GET /
09:12:33.123 DEBUG 0612 34
01/02/2024 10:30
01.02.2024 - 03.04.2024
15-01-2024 08-30
20240115093000
1990-2000, 2001-2010
v1.22.333.4444
10.0.19045.3803
Chrome/119.0.6045.160
3.11.0rc2 and 2.0.0.dev20240115
openssl 1.1.1w-0+deb11u1
192.168.001.002
10.12.34.56:8080
2001:db8:85a3::8a2e:370:7334
00:1A:2B:3C:4D:5E
0x0612345678abcdef
0A 06 12 34 56 78
06 12 34 56 78 9A
FF D8 FF E0 00 10 4A 46 49 46
01 02 03 04 05 06 07 08
05 06 07 08 09
13 14 15 16 17 18
0755 0644 0600
0101 1010 0110 1100
0012 0034 0056 0078
x = 1 + 2345678
(555) 123-4567
123-456-7890
0123456789
01 23 45 67 89
+1 (xxx) xxx-xxxx
order 0171 2345678
id: 0612345678
invoice 030 901820 45
page 12-34-56
The company made 612 345 678 dollars
2 000 000 people, 15 000 - 20 000 a year
(161.86 / 74.99) ^ (1 / 5)
RFC 2616, RFC 3986, RFC 7231
1-2-3-4-5-6-7-8
08 00 17 00
0800-1700
12345-6789
SW1A 1AA, 75008 Paris, 10115 Berlin
Section 12.3.4.5 and 06.07
1e-10, 6.02214076e23
0.0012 0.0034 0.0056
AAAAB3NzaC1yc2E is how a public key begins
class AbstractSingletonProxyFactoryBean2: pass
com.acme.service.impl.UserAccountManagerV2Impl
def test_that_the_token_is_refreshed_after_3600_seconds():
pneumonoultramicroscopicsilicovolcanoconiosis
MAX_RETRIES_BEFORE_GIVING_UP_ON_TOKEN = 10
data-testid="submit-button-of-login-form-2"
font-family: "Inter-var-4.0"
#1a2b3c and rgba(12, 34, 56, 0.78)
M12.34 56.78 L90.12 34.56
"""


def _look_alikes() -> Iterator[Example]:
    for line in _NO_SECRETS.strip().splitlines():
        yield Example("", line.replace("\\n", "\n"), (), "look-alikes")
    for number, make in enumerate(_RANDOM_LOOKING):
        for draw in (_Draw(f"look-alike {number} {again}") for again in range(6)):
            yield Example("", make(draw), (), "random-looking")


def _uuid(draw: _Draw) -> str:
    return str(uuid.UUID(int=draw.random.getrandbits(128), version=4))


def _figures(draw: _Draw) -> str:
    return " ".join(str(draw.random.randrange(100, 999)) for _ in range(4))


_RANDOM_LOOKING: tuple[Callable[[_Draw], str], ...] = (
    lambda d: f"commit {d.hex(40)}\nAuthor: Ann",
    lambda d: f"index {d.hex(7)}..{d.hex(7)} 100644",
    lambda d: f"sha256:{d.hex(64)}",
    lambda d: f"{d.hex(32)}  setup-1.2.tar.gz",
    lambda d: f"integrity sha512-{d.any(86, LETTERS + '+/')}==",
    lambda d: f"id: {_uuid(d)}",
    lambda d: f"request-id={_uuid(d)} took 12 ms",
    lambda d: f"data:image/png;base64,iVBORw0KGgo{d.any(300, LETTERS + '+/')}",
    lambda d: f"<img src='data:image/jpeg;base64,/9j/{d.any(200, LETTERS + '+/')}'>",
    lambda d: f"https://www.acme.io/watch?v={d.any(11)}",
    lambda d: f"https://docs.acme.io/d/{d.any(44)}/edit",
    lambda d: f"ssh-rsa AAAAB3NzaC1yc2E{d.any(200, LETTERS + '+/')} ann",
    lambda d: f'"etag": "{d.hex(32)}"',
    lambda d: f"const hash = '{d.hex(64)}';",
    lambda d: f"Block {d.random.randrange(10**6)}: 0x{d.hex(64)}",
    lambda d: f"bc1q{d.any(38, 'acdefghjklmnpqrstuvwxyz023456789')}",
    lambda d: f"model-{d.hex(8)}.safetensors",
    lambda d: f"figures: {_figures(d)}",
    lambda d: f"{d.random.random():.12f} {d.random.random():.12f}",
    lambda d: f"rows {d.random.randrange(10**8, 10**9)} of {d.random.randrange(10**9, 10**10)}",
    lambda d: f"ts={d.random.randrange(1_500_000_000, 1_800_000_000)}.{d.random.randrange(10**6)}",
    lambda d: (
        f"v{d.random.randrange(9)}.{d.random.randrange(99)}.{d.random.randrange(9999)}-beta.2"
    ),
    lambda d: f"order no. {d.any(10, string.digits)}",
    lambda d: (
        f"PMID {d.random.randrange(10**7, 10**8)}, doi:10.{d.any(4, '23456789')}/x.{d.hex(6)}"
    ),
    lambda d: (
        f"at {d.random.randrange(10, 24)}:{d.random.randrange(10, 60)}:07.{d.any(6, '0123456789')}"
    ),
    lambda d: (
        f"| {d.random.randrange(999)} | {d.random.randrange(9999)} | {d.random.random():.4f} |"
    ),
    lambda d: f"getElementById('node-{d.hex(8)}').classList",
    lambda d: f"cluster-{d.any(5).lower()}-pool-{d.hex(8)}-{d.any(4).lower()}",
    lambda d: f"{d.random.random() * 180 - 90:.6f}, {d.random.random() * 360 - 180:.6f}",
    lambda d: f"_csrf_name_{d.random.randrange(10**6)} = None",
    lambda d: f"{d.any(2, '23456789')} {d.any(3, '23456789')} {d.any(3, '23456789')}",
    lambda d: f"[{', '.join(str(d.random.randrange(10**4)) for _ in range(8))}]",
    lambda d: f"MIME boundary=----WebKitFormBoundary{d.any(16)}",
    lambda d: f"chunk.{d.hex(20)}.js",
)

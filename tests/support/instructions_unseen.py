"""A second set like `instructions`, in other languages and shapes, written when the rules stood.

It was measured once before anything was learnt from it; `tests/bench/RESULTS.md` has that number.
Each language has an instruction for each shape, in this order: below a stack trace, above queries
and settings, in two lines above a list, above what a terminal printed, and an answer above code.
"""

from __future__ import annotations

SHAPES = ("trace", "queries", "list", "terminal", "answer")

_INSTRUCTIONS = {
    "sv": """
        Varför får jag det här felet?
        Kan du göra frågan snabbare utan att ändra resultatet?
        Hej igen!|Sortera listan nedan efter pris
        Det här hände när jag skulle installera, vad gör jag nu
        Här är ett exempel som läser filen rad för rad.
    """,
    "cs": """
        Jak mám tuto chybu opravit?
        Doplň do tabulky sloupec s datem narození
        Dobrý den,|vyberte prosím z následujícího seznamu tři nejlepší nápady.
        Terminál mi vypsal tohle. Mám se bát?
        Tato funkce spočítá průměr všech hodnot v seznamu:
    """,
    "ro": """
        Ce înseamnă eroarea asta și cum o rezolv?
        Adaugă un index potrivit pentru această interogare.
        Salut!|Aranjează ideile de mai jos după importanță
        Am rulat comanda și a apărut asta:
        Desigur, iată o variantă care folosește o buclă simplă.
    """,
    "hu": """
        Miért száll el a program ezzel a hibával?
        Írd át ezt a lekérdezést úgy, hogy gyorsabb legyen
        Szia!|Válaszd ki a lista legjobb elemét, és indokold meg.
        A telepítés közben ezt kaptam, mit tegyek?
        Természetesen, az alábbi kód ezt csinálja:
    """,
    "uk": """
        Чому програма падає з цією помилкою?
        Додай до цієї таблиці зовнішній ключ
        Привіт!|Вибери три найкращі ідеї зі списку.
        Команда вивела ось таке, що робити далі?
        Ось приклад, який робить те саме без циклу:
    """,
    "fa": """
        این خطا یعنی چه و چطور رفعش کنم؟
        این پرس‌وجو را سریع‌تر کن
        سلام|از فهرست زیر سه مورد را انتخاب کن
        بعد از اجرای دستور این را دیدم، مشکل کجاست؟
        این کد همان کار را با یک حلقه انجام می‌دهد:
    """,
    "hi": """
        यह त्रुटि क्यों आ रही है?
        इस क्वेरी को तेज़ कैसे करें?
        नमस्ते,|नीचे दी गई सूची में से तीन विचार चुनें।
        कमांड चलाने पर यह दिखा, अब क्या करूँ?
        यह उदाहरण फ़ाइल को पंक्ति दर पंक्ति पढ़ता है:
    """,
    "th": """
        ทำไมโปรแกรมถึงขึ้นข้อผิดพลาดนี้
        ช่วยปรับคำสั่งนี้ให้เร็วขึ้นหน่อย
        สวัสดีครับ|เลือกสามข้อที่ดีที่สุดจากรายการด้านล่าง
        ตอนติดตั้งขึ้นแบบนี้ ต้องทำอย่างไรต่อ
        ตัวอย่างนี้อ่านไฟล์ทีละบรรทัด
    """,
    "fi": """
        Miksi saan tämän virheen?
        Nopeuta tätä kyselyä, mutta älä muuta tulosta.
        Moi!|Järjestä alla oleva lista hinnan mukaan
        Asennus pysähtyi tähän, mitä nyt pitäisi tehdä?
        Tässä on esimerkki, joka laskee keskiarvon:
    """,
    "es": """
        ¿Qué estoy haciendo mal?
        Necesito que esta consulta devuelva también los clientes sin pedidos
        Buenas tardes.|De la siguiente lista, ¿cuál recomendarías para un principiante?
        Al ejecutar el comando sale lo siguiente
        Aquí tienes una versión más corta que hace lo mismo.
    """,
    "ko": """
        왜 이런 오류가 나는 거야
        아래 쿼리에서 중복을 없애고 싶어요
        안녕하세요|다음 목록에서 세 가지만 골라 주세요
        설치하다가 이렇게 나왔는데 어떻게 해야 하나요?
        아래 코드는 파일을 한 줄씩 읽습니다.
    """,
    "zh": """
        为什么会报这个错？
        帮我优化下面的查询
        你好|从下面的列表里选三个最好的点子
        运行命令之后显示这些内容，接下来怎么办
        下面的代码逐行读取文件：
    """,
}

_TRACE = """
Exception in thread "main" java.lang.IllegalStateException: The stream has already been closed
    at org.example.reader.LineReader.read(LineReader.java:58)
    at org.example.reader.LineReader.readAll(LineReader.java:91)
    at org.example.App.main(App.java:17)
Caused by: java.io.IOException: The device is not ready to be read from
    ... 3 more
"""
_QUERIES = """
WITH recent AS (
  SELECT customer_id, MAX(created_at) AS last_order -- the date of the last order
  FROM orders
  GROUP BY customer_id
)
UPDATE customers
SET is_active = FALSE -- they have not bought anything for a year
FROM recent
WHERE recent.customer_id = customers.id
  AND recent.last_order < NOW() - INTERVAL '1 year';
"""
_LIST = """
- A lamp that gets brighter when it rains, for people who live in dark houses
- A bottle which tells you how much you have drunk since the morning
- An umbrella that you cannot forget, because it calls your phone
- A chair made of old newspapers and the glue that children use
"""
_TERMINAL = """
$ make install
Checking whether the compiler works... yes
Checking for the header files of the library... not found
You have to install the development package before you can continue
make: *** [Makefile:12: install] Error 1
$ echo $?
2
"""
_CODE = """
with open(path, encoding="utf-8") as lines:
    total = 0
    for number, line in enumerate(lines):
        # skip the first line, which holds the names of the columns
        if number == 0:
            continue
        total += float(line.split(",")[2])
print("The mean of all the values is", total / number)
"""


def unseen() -> list[tuple[str, str, str]]:
    """The texts: (language of the instruction, shape, text), twelve languages in five shapes."""
    rows = []
    for lang, lines in _INSTRUCTIONS.items():
        trace, queries, items, terminal, answer = map(str.strip, lines.strip().splitlines())
        greeting, request = items.split("|")
        texts = (
            f"{_TRACE.strip()}\n\n{trace}",
            f"{queries}\n{_QUERIES}",
            f"{greeting}\n{request}\n{_LIST}",
            f"{terminal}\n{_TERMINAL}",
            f"{answer}\n{_CODE}",
        )
        rows += [(lang, shape, text) for shape, text in zip(SHAPES, texts, strict=True)]
    return rows

"""Texts whose instruction is in one language and the rest in code, a log or English: made by hand.

Each language has an instruction for each shape, in this order: above code that no fence marks,
above a log, above an English text, with code in the line, and a plain short one.
"""

from __future__ import annotations

SHAPES = ("code", "log", "quotation", "inline", "short")

_INSTRUCTIONS = {
    "de": """
        Warum liefert diese Funktion immer null zurück?
        Mein Server stürzt ab, was bedeutet das hier:
        Fasse den folgenden Absatz in zwei Sätzen zusammen.
        Was ist der Unterschied zwischen list.append() und list.extend() in Python?
        Danke, das hilft mir sehr
    """,
    "fr": """
        Peux-tu corriger ce code ? Il ne trie pas la liste comme il faut.
        Voici ce que j'obtiens au démarrage, d'où vient l'erreur ?
        Résume ce passage pour des lycéens
        Comment utiliser git rebase -i sans perdre mes commits ?
        Continue avec la suite
    """,
    "es": """
        Explícame qué hace este programa paso a paso
        No puedo arrancar el servicio, me sale esto en el registro:
        Traduce al español el siguiente texto.
        ¿Para qué sirve df.groupby("city").mean() en pandas?
        Dame otro ejemplo
    """,
    "it": """
        Aggiungi dei commenti a questa classe, per favore.
        Da ieri il sito non risponde più e vedo solo questo
        Riscrivi questo brano con parole più semplici:
        A cosa serve async/await in JavaScript e quando conviene Promise.all()?
        Puoi spiegarlo meglio?
    """,
    "pt": """
        Como posso deixar este código mais rápido?
        A instalação falha sempre no mesmo ponto. O que devo fazer?
        Quais são as ideias principais deste artigo?
        Qual é a diferença entre npm install e npm ci?
        Muito obrigado pela ajuda
    """,
    "nl": """
        Kun je tests schrijven voor de onderstaande functie?
        Sinds de update krijg ik deze meldingen, weet jij hoe dat komt?
        Schrijf een antwoord op deze e-mail, graag beleefd
        Waarom geeft JSON.parse(undefined) een fout?
        Geef me nog een voorbeeld
    """,
    "pl": """
        Przepisz ten kod tak, żeby używał klas
        Aplikacja nie chce się uruchomić. Oto log:
        Przetłumacz poniższy tekst na polski:
        Jak działa useEffect(() => {}, []) w React?
        Napisz to krócej
    """,
    "tr": """
        Bu fonksiyondaki hatayı bulur musun?
        Sunucu sürekli yeniden başlıyor, kayıtlar şöyle:
        Aşağıdaki paragrafı Türkçe özetle.
        Python'da range(len(x)) yerine ne kullanmalıyım?
        Bana bir örnek daha ver
    """,
    "vi": """
        Giải thích đoạn mã này giúp tôi
        Máy chủ của tôi bị lỗi, hãy xem nhật ký sau:
        Hãy tóm tắt đoạn văn sau bằng tiếng Việt.
        Lệnh docker run -it --rm ubuntu bash dùng để làm gì?
        Viết tiếp đi
    """,
    "id": """
        Tolong perbaiki kode berikut supaya tidak lambat.
        Kenapa aplikasi saya gagal dijalankan? Ini catatannya
        Apa maksud penulis dalam tulisan ini?
        Bagaimana cara memakai np.where(a > 0, a, 0) untuk larik besar?
        Terima kasih banyak atas bantuannya
    """,
    "ru": """
        Почему этот код выдаёт пустой список?
        Сервис падает после запуска, вот что в журнале
        Переведи на русский язык:
        Чем отличается Object.assign({}, a) от {...a}?
        Продолжай
    """,
    "el": """
        Μπορείς να βρεις το λάθος στον κώδικα;
        Η εφαρμογή δεν ξεκινάει. Τι σημαίνουν αυτά;
        Γράψε μια περίληψη του παρακάτω κειμένου.
        Τι κάνει η εντολή git stash pop;
        Ευχαριστώ πολύ
    """,
    "ko": """
        이 코드를 설명해 줘
        서버가 계속 꺼지는데 이유가 뭐야?
        다음 글을 한국어로 요약해 주세요.
        파이썬에서 dict.get("key", None)은 언제 쓰나요?
        계속해 줘
    """,
    "ja": """
        このコードのバグを直してください
        起動すると次のエラーが出ます。原因は何ですか？
        次の文章を日本語に訳してください。
        SELECT COUNT(*) FROM users と COUNT(id) の違いは何ですか？
        もっと短くして
    """,
    "zh": """
        解释一下这段代码
        部署失败了，日志如下：
        总结这段话
        Promise.all([a(), b()]) 和 await a(); await b(); 有什么区别？
        继续写
    """,
    "ar": """
        اشرح لي هذا الكود
        لماذا يتوقف الخادم؟ هذا هو السجل:
        ترجم النص التالي إلى العربية
        ما الفرق بين let x = 1 و const x = 1 في جافاسكريبت؟
        شكرا جزيلا
    """,
}

_CODES = (
    '''
def sort_scores(players, key="score"):
    """Return the players sorted by their score, the best of them first."""
    if not players:
        # there is nothing to sort, so we can return early
        return None
    result = []
    for player in players:
        value = player.get(key, 0)
        if value > 0:
            result.append((value, player["name"]))
    result.sort(reverse=True)
    return [name for value, name in result]


if __name__ == "__main__":
    print(sort_scores(load_players("players.json")))
''',
    """
import React, { useState } from 'react';
// A simple counter that shows how many times the user has clicked the button
export default function Counter({ initialValue, onChange }) {
  const [count, setCount] = useState(initialValue);
  const handleClick = () => {
    // tell the parent about the change before we update the state
    onChange(count + 1);
    setCount(count + 1);
  }
  return (
    <div className="counter">
      <p>You clicked the button {count} times</p>
      <button onClick={handleClick}>Click me</button>
    </div>
  )
}
""",
    """
public class Account {
    private double balance;
    private final String owner;

    /** Creates an account with the given owner and an initial balance. */
    public Account(String owner, double initialBalance) {
        this.owner = owner;
        this.balance = initialBalance;
    }

    // Withdraw money only if there is enough left on the account
    public boolean withdraw(double amount) {
        if (amount > balance) {
            System.out.println("Sorry, you do not have enough money");
            return false;
        }
        balance -= amount;
        return true;
    }
}
""",
)

_LOGS = (
    """
[INFO] Starting the application on port 8080
[INFO] Connecting to the database at localhost
[WARN] The connection was refused, trying again in 5 seconds
[WARN] The connection was refused, trying again in 10 seconds
[ERROR] Could not connect to the database after 3 attempts
[ERROR] Please check that the server is running and that the password is correct
""",
    """
npm ERR! code ELIFECYCLE
npm ERR! errno 1
npm ERR! app@0.1.0 build: `react-scripts build`
npm ERR! Exit status 1
npm ERR!
npm ERR! Failed at the app@0.1.0 build script.
npm ERR! This is probably not a problem with npm. There is likely additional logging output above.
""",
    """
Mar 03 10:12:45 web-1 systemd[1]: Started The main web server of the company.
Mar 03 10:12:46 web-1 server[812]: listening on all interfaces
Mar 03 10:12:59 web-1 server[812]: out of memory while reading the request
Mar 03 10:13:00 web-1 systemd[1]: server.service: Main process exited, code=killed
Mar 03 10:13:01 web-1 systemd[1]: server.service: Failed with result 'signal'.
Mar 03 10:13:02 web-1 systemd[1]: Stopped The main web server of the company.
""",
)

_QUOTATIONS = (
    """
The city council voted on Tuesday to close the old bridge to cars from next spring. Engineers had
warned for years that its pillars were weaker than they looked, and that repairs would cost more
than a new crossing. Shop owners on both banks fear that they will lose customers, while people who
live nearby hope that their streets will become quieter and safer for children.
""",
    """
Dear team,

I am writing to let you know that the delivery we expected last week has not arrived yet. Could you
please tell me when it was sent and whether there is a number with which I can follow it? Our
customers are waiting, and we would like to give them a clear answer before the weekend.

Best wishes,
Ann
""",
    """
"Most people sleep less than they need, and most of them know it. What they do not know is how much
of the day they lose to it: they read more slowly, forget more and quarrel more often than those
who go to bed an hour earlier."
""",
)


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


def made() -> list[tuple[str, str, str]]:
    """The texts: (language of the instruction, shape, text), 16 languages in five shapes."""
    bodies = {"code": _CODES, "log": _LOGS, "quotation": _QUOTATIONS}
    rows = []
    for number, (lang, lines) in enumerate(_INSTRUCTIONS.items()):
        for shape, line in zip(SHAPES, _lines(lines), strict=True):
            below = bodies.get(shape, ("",))
            blank = "\n" if number % 2 else ""
            body = below[number % len(below)]
            rows.append((lang, shape, f"{line}{blank}{body}" if body else line))
    return rows

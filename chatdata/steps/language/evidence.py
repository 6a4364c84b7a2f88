"""What has to be in a text of a language that is written in Latin letters: its common words.

fastText names a language for anything: names, output of programs, letters without sense. A text
in a language of some length has words that nearly every sentence of the language has, or letters
with marks.
"""

from __future__ import annotations

import functools
import re

_WORDS = {
    "es": "de la que el en los se del las un por con una para como pero más le lo es está sus su al"
    " me mi te tu qué cómo cuál quiero dame haz hola gracias porfavor eres soy hay esta este esto"
    " puedes podrias necesito tengo sobre otro otra",
    "pt": "de que do da em um para com uma os no se na por mais as dos como mas ao ele das seu sua"
    " ou quando muito já eu também só pelo isso me meu minha você não são está obrigado olá",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il"
    " sont avec mais comme ou si leur je tu nous vous moi merci bonjour quel quelle comment"
    " ce cet cette ces à ne pourquoi peux peut fait été",
    "it": "di che la il un per in una non si del con le da dei sono al lo come più ma ha nel alla"
    " della questo questa mi ti gli anche io tu ciao grazie cosa perché puoi",
    "ca": "de la que el els en un per amb una les del no es al com més però si als és són aquest",
    "gl": "de que do da en un para con unha os no se na por máis as dos como pero ao ou non son",
    "ro": "de și în la cu pe un o nu din pentru este care ce mai să sunt ca fi se au dar te mă îmi",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es"
    " an werden aus er hat dass sie nach wird bei einer um am sind noch wie einem über einen so zum"
    " war haben nur oder aber vor zur bis mehr durch man ich du wir ihr mir dir bitte danke was"
    " kannst gib schreibe mein dein kein",
    "nl": "de van een het en in is dat op te voor met zijn aan niet er om ook als dan maar bij nog"
    " wordt door naar uit wel of kan ik je jij u we hoe wat waar waarom geef graag dank",
    "sv": "och i att det som en på är av för med den till inte har de ett om jag var men så från vi"
    " kan du hur vad mig dig",
    "da": "og i at det er en til af på som de for med den der ikke har et om jeg var men så fra vi"
    " kan du hvordan hvad mig dig hvor",
    "no": "og i at det er en til av på som de for med den ikke har et om jeg var men så fra vi kan"
    " du hvordan hva meg deg hvor",
    "af": "die en van in is het dat 'n om te nie vir met op ek hy wat was as sy aan jy ons hoe",
    "fi": "ja on ei se että en hän oli ovat mutta kun niin tai myös kuin joka mitä miten minä sinä",
    "et": "ja on ei et see oli ta ka kui ning mis aga ma sa kuidas seda oma",
    "hu": "a az és hogy nem is egy van meg ez de ha csak már még volt el mint vagy én te hogyan mi",
    "pl": "w i na z się nie do to że jest o jak od po co dla za przez ale są czy mnie mi ci tego"
    " ten jako może mam proszę jestem",
    "cs": "a se v na je že s z do o k i to za by jak ale pro jsem jako ve po co od než ne"
    " mi si jsou",
    "sk": "a sa v na je že s z do o k i to za by ako ale pre som vo po čo od ne mi si sú",
    "sl": "in je v na se da za so z ki ne pa s kot to po bi od ali ga sem kako kaj",
    "hr": "i je u na se da za su od s ne što kao to po bi ili ga sam kako koji koja ali iz",
    "lt": "ir yra į kad su iš tai ne kaip o bet ar buvo jo aš tu",
    "lv": "un ir ka no ar uz par bet tas kā es tu lai vai nav",
    "tr": "ve bir bu da de için ile ne mi o olarak daha çok gibi kadar var ben sen bana nasıl ama",
    "az": "və bir bu da də üçün ilə nə olan kimi mən sən necə",
    "id": "yang dan di ini itu dengan untuk dari pada tidak dalam adalah saya akan ke ada oleh juga"
    " kamu anda bagaimana apa bisa tolong"
    " supaya agar berikut kenapa mengapa kami kita terima kasih lebih jika",
    "ms": "yang dan di ini itu dengan untuk dari pada tidak dalam adalah saya akan ke ada oleh"
    " juga",
    "tl": "ang ng sa na mga at ay ko mo ako ka si para kung ito hindi po",
    "vi": "la va cua cho toi ban khong co mot trong",
    "eo": "la de kaj en estas al mi vi ne por kun kiel kio ke",
    "la": "et in est non ad ut cum ex sed qui quae quod ab esse",
}
_SAME = {"sh": "hr", "bs": "hr", "sr": "hr", "nn": "no", "nb": "no", "ast": "es"}
_ALSO_ENGLISH = (  # or in names of people and places
    "comment os nos for mit bin gut"
    " a i o u e k s z v w to in on me do no is at as an also or so die war man far her den under"
    " non come per con son ten plus sur pour sang met van hat am was hem has sin sua its but she"
    " un la le les des una sea para mama par del el y que da de di du may mo ng na ko ka si ay"
    " it hum mi ne se us op we he om has eat can data pod tego od po by al ad ex et est sed ab"
    " cum ut all"
)
_WITH_MARKS = r"[^\W\d_a-z]"  # of a text in small letters
_MARKS = re.compile(_WITH_MARKS)
_MARKED = 2  # words: a single one may be a name


def is_seen(lang: str, look: str) -> bool:
    """Whether words of a text speak for the language; true for one that has no words here."""
    known = _pattern(_SAME.get(lang, lang))
    return known is None or known.search(look.lower()) is not None


def is_spoken(lang: str, look: str) -> bool:
    """Whether a text has words of the language that English lacks, or several with marks; false for
    a language that has no words here."""
    words = look.lower().split()
    if lang not in _WORDS and lang not in _SAME:
        return False
    is_marked = sum(_MARKS.search(word) is not None for word in words) >= _MARKED
    return is_marked or not _of_its_own(lang).isdisjoint(words)


@functools.cache
def _of_its_own(lang: str) -> set[str]:
    return set(_WORDS[_SAME.get(lang, lang)].split()) - set(_ALSO_ENGLISH.split())


@functools.cache
def _pattern(lang: str) -> re.Pattern[str] | None:
    words = _WORDS.get(lang)
    if words is None:
        return None
    of_the_language = "|".join(word for word in words.split() if len(word) > 1)
    return re.compile(rf"{_WITH_MARKS}|(?<!\S)(?:{of_the_language})(?!\S)")

"""The communities of the invented company: where its people live, and how people are called there.

Pure data for ``employees``: one row per country, with its share of the 1,000 employees, the
language their pages would be in, towns, given names and family names in their own spelling. The
names are common ones, combined at random; nobody in particular is meant.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Community:
    """``country`` is ISO 3166 alpha-2, ``language`` BCP 47, ``share`` a relative weight."""

    country: str
    language: str
    share: int
    towns: tuple[str, ...]
    given: tuple[str, ...]
    family: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


COMMUNITIES = (
    Community(
        "PL",
        "pl",
        24,
        _words("Warszawa Kraków Łódź Poznań Gdańsk Wrocław"),
        _words(
            "Agnieszka Małgorzata Łucja Zofia Katarzyna Bożena Żaneta Świętosława Anna Wanda "
            "Paweł Michał Łukasz Grzegorz Wojciech Stanisław Józef Błażej Tomasz Zbigniew"
        ),
        _words(
            "Wójcik Żuk Śliwa Gołąb Źródlak Sikora Ćwik Bąk Łuczak Nowak Kozioł Pietrzyk "
            "Wróbel Zając Mróz Świerk Dąbek Gołębiak Szczęsny-Żak Ślązak"
        ),
    ),
    Community(
        "FR",
        "fr",
        34,
        _words("Paris Lyon Lannion Châtillon Orléans Sophia-Antipolis Nîmes"),
        _words(
            "Hélène Chloé Maëlle Françoise Anaïs Zoé Solène Inès Noémie Camille "
            "François Jérôme Loïc Rémi Théo Gaëtan Cédric Benoît Maël Étienne"
        ),
        _words(
            "Lefèvre Béranger Garçon Morvan Lecœur Péron Le-Goff D'Aubigné Marchand Chevalier "
            "Thévenin Rousseau Guérin Bâcle Quéméner Noël Fabre Lemaître Vidal Perrault"
        ),
    ),
    Community(
        "SN",
        "wo",
        14,
        _words("Dakar Thiès Saint-Louis Ziguinchor Kaolack Mbour"),
        _words(
            "Ndèye Awa Coumba Sokhna Fatou Aïssatou Khady Mariama Adja Yacine "
            "Mamadou Ousmane Cheikh Modou Ibrahima Babacar Serigne Abdoulaye El-Hadji Alioune"
        ),
        _words(
            "Ndiaye Diop Fall Sarr Guèye Sène Mbaye Thiam Mbàkke Ñaŋ Diouf Faye Sy Ndour "
            "Cissé Seck Bâ Wade Dièye Lô"
        ),
    ),
    Community(
        "CI",
        "fr",
        8,
        ("Abidjan", "Bouaké", "Yamoussoukro", "San-Pédro"),
        _words("Adjoua Affoué Amenan Aya Akissi Kouassi Konan Yao Koffi N'Guessan"),
        _words("Kouamé Touré N'Dri Koné Coulibaly Yapi Bamba Aké Gnahoré Ouattara"),
    ),
    Community(
        "ML",
        "fr",
        5,
        ("Bamako", "Sikasso", "Ségou", "Mopti"),
        _words("Oumou Assétou Kadiatou Djénéba Rokia Seydou Amadou Drissa Salif Boubacar"),
        _words("Traoré Keïta Diarra Sissoko Maïga Dembélé Sangaré Kouyaté Samaké Haïdara"),
    ),
    Community(
        "ES",
        "es",
        8,
        ("Madrid", "Bilbao", "A Coruña", "Cádiz", "Málaga"),
        _words("Begoña Inmaculada Lucía Ángela Íñigo Nuria José Andrés Óscar Iván"),
        _words("Muñoz Núñez Ibáñez Peña Gutiérrez Zúñiga Cañas Rincón López Yáñez"),
    ),
    Community(
        "RO",
        "ro",
        7,
        ("București", "Iași", "Cluj-Napoca", "Timișoara"),
        _words("Ștefania Ioana Mălina Crenguța Rodica Ștefan Răzvan Cătălin Ionuț Bogdan"),
        _words("Țurcanu Bălan Șerban Munteanu Pătrașcu Văcărescu Ciobanu Lupu Răducanu Gheorghiță"),
    ),
    Community(
        "BE",
        "fr",
        4,
        ("Bruxelles", "Liège", "Namur", "Ostende"),
        _words("Aurélie Godelieve Régine Maïté Joëlle Gérard Joris Adrien Renée Noël"),
        _words("D'Hondt Van-der-Elst Deléglise Küpper Lemmens Massart Piérard Böhm Wéry Hoüart"),
    ),
    Community(
        "TN",
        "ar",
        4,
        ("Tunis", "Sfax", "Sousse", "Béja"),
        _words("Amira Rim Wafa Hédia Mériem Slim Hédi Anis Béchir Zied"),
        _words("Ben-Salah Trabelsi Gharbi Jlassi Mejri Bouazizi Chérif Hammami Zouari Mzoughi"),
    ),
    Community(
        "MG",
        "mg",
        4,
        ("Antananarivo", "Toamasina", "Antsirabe"),
        _words("Voahangy Lalao Haingo Miora Fara Hery Tojo Naivo Rado Lanto"),
        _words("Rakoto Rasoa Andriamanana Razafy Ravelo Rabe Randria Ratsimba Rajaona Rahari"),
    ),
)

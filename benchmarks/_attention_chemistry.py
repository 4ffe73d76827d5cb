"""The fifty reactions, by kind."""

from __future__ import annotations

from _attention_reactions import Part, Reaction, changed, coupled, reaction, spelled

AMINES = ("NCc1ccccc1", "Nc1ccc(C)cc1", "N1CCOCC1", "NC1CCCCC1", "NCCOC", "N1CCCCC1")
ACYLS = (
    "CC(=O)*",
    "O=C(*)c1ccccc1",
    "CCCC(=O)*",
    "COc1ccc(C(=O)*)cc1",
    "O=C(*)c1ccco1",
    "CC(C)C(=O)*",
)
ALCOHOLS = ("OCC", "OCc1ccccc1", "OC(C)C", "OCCCC", "OC1CCCC1")
ALKYLS = ("CCC*", "c1ccc(C*)cc1", "C=CC*", "COC(=O)C*", "CC(C)CC*")
PHENOLS = ("Oc1ccccc1", "Oc1ccc(C=O)cc1", "Oc1ccc(Cl)cc1", "Oc1cccc(C#N)c1", "Oc1ccc2ccccc2c1")
ARYLS = ("Cc1ccc(*)cc1", "COc1ccc(*)cc1", "N#Cc1ccc(*)cc1", "c1cnc(*)nc1", "O=Cc1cccc(*)c1")
BORONS = ("c1ccccc1", "c1ccc(F)cc1", "c1ccsc1", "c1cccnc1", "c1ccc(OC)cc1")


def reactions() -> list[Reaction]:
    """Fifty reactions of 18 kinds, in the order of the kinds."""
    return [*couplings(), *functional_groups(), *additions()]


def couplings() -> list[Reaction]:
    """A leaving group is replaced by a nucleophile."""
    out = [
        coupled("amide from an acid chloride", a, "Cl", "*" + b, "", "", "CCN(CC)CC")
        for a, b in zip(ACYLS, AMINES, strict=True)
    ]
    out += [
        coupled("esterification", a, "O", "*" + b, "", "", "O=S(=O)(O)O")
        for a, b in zip(ACYLS[1:], ALCOHOLS, strict=True)
    ]
    out += [
        coupled("ether synthesis", a, "Br", "*" + b, "", "", "O=C([O-])[O-]", "[K+]", "[K+]")
        for a, b in zip(ALKYLS, PHENOLS, strict=True)
    ]
    out += [
        coupled("alkylation of an amine", a, "Br", "*" + b, "", "", "CC#N")
        for a, b in zip(ALKYLS[:4], AMINES[2:], strict=True)
    ]
    out += [
        coupled(
            "Suzuki coupling", a, "Br", "*" + b, "OB(O)", "-", "O=C([O-])[O-]", "[Na+]", "[Na+]"
        )
        for a, b in zip(ARYLS, BORONS, strict=True)
    ]
    out += [
        coupled("sulfonamide", a, "Cl", "*" + b, "", "", "c1ccncc1")
        for a, b in zip(("CS(=O)(=O)*", "Cc1ccc(S(=O)(=O)*)cc1"), AMINES[:2], strict=True)
    ]
    return out + [
        coupled("aromatic substitution", a, "F", "*" + b, "", "", "CS(C)=O")
        for a, b in zip(
            ("O=[N+]([O-])c1ccc(*)cc1", "N#Cc1ccc(*)cc1", "O=[N+]([O-])c1ccccc1*"),
            (AMINES[2], AMINES[0], AMINES[4]),
            strict=True,
        )
    ]


def functional_groups() -> list[Reaction]:
    """One group becomes another, or a protecting group leaves."""
    borohydride, chromium = ("[BH4-]", "[Na+]", "CO"), ("ClCCl", "O=[Mn]=O")
    out = [
        changed("reduction of a ketone", ketone, "=", "", *borohydride)
        for ketone in ("CC(*O)c1ccccc1", "CCC(*O)CC", "COc1ccc(C*O)cc1")
    ]
    out += [
        changed("oxidation of an alcohol", alcohol, "", "=", *chromium)
        for alcohol in ("CC(*O)c1ccc(Cl)cc1", "C(*O)c1cccs1", "CCCCC(*O)CC")
    ]
    for ring in ("*c1ccc(C)cc1", "*c1cccc(Br)c1"):
        nitrogen, rest = Part("N"), Part(ring)
        before = rest([*Part("O=")(), *spelled(nitrogen(), "[N+]"), *Part("([O-])")()])
        out.append(
            reaction("reduction of a nitro group", [before, "[Fe]", "CCO"], [rest(nitrogen())])
        )
    out += [
        changed("removal of Boc", amine, "CC(C)(C)OC(=O)", "", "O=C(O)C(F)(F)F", "ClCCl")
        for amine in ("*NCc1ccccc1", "*N1CCN(c2ccccc2)CC1")
    ]
    return out + [
        changed("hydrolysis of an ester", acid, "OC", "O", "[OH-]", "[Na+]", "C1CCOC1")
        for acid in ("O=C(*)c1ccc(Br)cc1", "N#CCC(=O)*")
    ]


def additions() -> list[Reaction]:
    """Two molecules become one, with all of their atoms or without water."""
    out = []
    for alkyl, ring in (("CC*", "c1ccccc1"), ("C*", "c1ccc(OC)cc1")):
        metal, oxygen, carbon, rest = Part(alkyl), Part("O"), Part("C"), Part(ring)
        before = [metal("[Mg]Br"), [*oxygen(), *Part("=")(), *carbon(), *rest()], "C1CCOC1"]
        after = [*metal(carbon()), *Part("(")(), *oxygen(), *Part(")")(), *rest()]
        out.append(reaction("Grignard addition", before, [after]))
    for carbon_chain, amine in (("C(*)c1ccccc1", AMINES[4]), ("C(*)c1ccc(F)cc1", AMINES[5])):
        aldehyde, base = Part(carbon_chain), Part(amine)
        out.append(
            reaction(
                "reductive amination",
                [aldehyde("=O"), base(), "[BH4-]", "[Na+]"],
                [aldehyde(base())],
            )
        )
    for chain, amine in (("c1ccccc1", AMINES[0]), ("CCOC(=O)C", AMINES[5])):
        oxygen, carbon, nitrogen = Part("O*"), Part("C*"), Part("N*")
        rest, base = Part(chain), Part(amine)
        imine = nitrogen(rest())
        before = [*oxygen("="), *carbon("="), *imine]
        after = [*oxygen("="), *carbon([*Part("(")(), *imine, *Part(")")()]), *base()]
        out.append(reaction("urea from an isocyanate", [before, base()], [after]))
    for substituent in ("C=O", "C#N"):
        diene, alkene, group, closure = Part("C*C*C*C"), Part("C*C*"), Part(substituent), Part("1")
        before = [diene("=", "", "="), alkene("=", group())]
        branch = [*Part("(")(), *group(), *Part(")")()]
        after = [*alkene(closure(), branch), *diene("", "=", ""), *closure()]
        out.append(reaction("Diels-Alder addition", before, [after]))
    return out

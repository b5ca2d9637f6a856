namespace Panacea.Diagnosis.Rendering;

internal static partial class HtmlPage
{
    /// <summary>For a wide screen, a phone, the dark and paper.</summary>
    private const string Style = """
        :root{--ink:#1c2024;--soft:#5b6570;--line:#d9dee3;--paper:#fff;--tint:#f5f7f9;--bad:#b3261e;--bad-tint:#fdecea;--good:#1b6e3c;--good-tint:#e7f4ec;--mark:#fff3c4}
        @media (prefers-color-scheme:dark){:root{--ink:#e3e7eb;--soft:#98a3ae;--line:#363d45;--paper:#15181c;--tint:#1e2329;--bad:#ff8a80;--bad-tint:#3a1d1c;--good:#7ddba0;--good-tint:#173325;--mark:#4a3f12}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
        main{max-width:62rem;margin:0 auto;padding:1.5rem 1rem 4rem}
        h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .6rem;overflow-wrap:anywhere}
        h2{font-size:1.15rem;margin:2.2rem 0 .7rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
        p{margin:.5rem 0;overflow-wrap:anywhere}
        .source{color:var(--soft);font-size:.9rem}
        .cause{font-size:1.1rem}
        .tags{display:flex;flex-wrap:wrap;gap:.4rem;margin:.8rem 0;padding:0;list-style:none}
        .tags li{border:1px solid var(--line);border-radius:1rem;padding:.05rem .7rem;font-size:.85rem;background:var(--tint)}
        code,pre{font:.86rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
        pre{background:var(--tint);border:1px solid var(--line);border-radius:.4rem;padding:.7rem .8rem;overflow-x:auto;margin:.6rem 0}
        pre .at{display:block;background:var(--mark);margin:0 -.8rem;padding:0 .8rem}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:.6rem 0}
        dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
        .card{border:1px solid var(--line);border-left:.35rem solid var(--soft);border-radius:.4rem;padding:.6rem .9rem;margin:.6rem 0;background:var(--tint)}
        .card.yes{border-left-color:var(--good);background:var(--good-tint)}.card.no{border-left-color:var(--bad)}
        .card.bad{border-left-color:var(--bad);background:var(--bad-tint)}
        .card p{margin:.25rem 0}.card ul{margin:.3rem 0 .1rem;padding-left:1.2rem}
        details{border-bottom:1px solid var(--line)}
        details>summary{cursor:pointer;padding:.3rem .2rem;overflow-wrap:anywhere}
        details>div{padding:.1rem .2rem .6rem 1.4rem}
        .frame>summary code{font-size:.9rem}.loose{color:var(--soft)}
        .stackname{color:var(--soft);font-size:.85rem;margin:.7rem 0 .1rem}
        .wide{overflow-x:auto;margin:.6rem 0}
        table{border-collapse:collapse;font-size:.9rem;min-width:50%}
        th{text-align:left;color:var(--soft);font-weight:500}
        th,td{padding:.2rem .9rem .2rem 0;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
        td:first-child,th:first-child{padding-left:.2rem}
        .timeline{list-style:none;margin:.6rem 0;padding:0 0 0 1rem;border-left:2px solid var(--line)}
        .timeline li{margin:.25rem 0}.timeline time{display:inline-block;min-width:6.5rem;color:var(--soft);font-variant-numeric:tabular-nums}
        .regs{display:grid;grid-template-columns:repeat(auto-fill,minmax(15.5rem,1fr));gap:.1rem 1rem}
        .regs code{white-space:pre}
        @media (max-width:38rem){body{font-size:15px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}h1{font-size:1.35rem}}
        @media print{:root{--paper:#fff;--ink:#000;--tint:#fff}main{max-width:none;padding:0}pre{white-space:pre-wrap;overflow-wrap:anywhere;overflow:visible}details>div{display:block}details::details-content{content-visibility:visible;display:block;block-size:auto}.wide{overflow:visible}h2{break-after:avoid}.card,details{break-inside:avoid}}
        """;
}

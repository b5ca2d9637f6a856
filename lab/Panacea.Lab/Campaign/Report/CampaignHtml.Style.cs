namespace Panacea.Lab.Campaign.Report;

public static partial class CampaignHtml
{
    /// <summary>For a wide screen, a phone, the dark and paper. Colours of plots are told apart by who can't tell red from green, too, and are named as <see cref="PlotInk"/> has them.</summary>
    private const string Style = """
        :root{--ink:#1c2024;--soft:#5b6570;--line:#d9dee3;--paper:#fff;--tint:#f5f7f9;--bad:#b3261e;--good:#1b6e3c;--link:#1a5fb4;
        --no-effect:#c5ccd3;--recovered:#2b83a6;--crash:#b5332a;--hang:#e2a03f;--failure:#8a6d3b;--silent-corruption:#6f4a9e;
        --stock-panic:#7b8691;--stock-oops:#a9713f;--quarantine:#d19a2a;--ladder:#2b83a6;--rehearsal:#4b4fa8}
        @media (prefers-color-scheme:dark){:root{--ink:#e3e7eb;--soft:#98a3ae;--line:#363d45;--paper:#15181c;--tint:#1e2329;--bad:#ff8a80;--good:#7ddba0;--link:#8ab4f8;
        --no-effect:#4d565f;--recovered:#4fb0d6;--crash:#e8685d;--hang:#e9b25c;--failure:#c9ab74;--silent-corruption:#b08ce0;
        --stock-panic:#8d98a3;--stock-oops:#c18a57;--quarantine:#e0b04c;--ladder:#4fb0d6;--rehearsal:#9296ec}}
        *{box-sizing:border-box}
        body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
        main{max-width:72rem;margin:0 auto;padding:1.5rem 1rem 4rem}
        h1{font-size:1.7rem;line-height:1.25;margin:.2rem 0 .6rem;overflow-wrap:anywhere}
        h2{font-size:1.2rem;margin:2.4rem 0 .6rem;padding-bottom:.25rem;border-bottom:1px solid var(--line)}
        p{margin:.5rem 0;max-width:52rem;overflow-wrap:anywhere}
        a{color:var(--link)}
        .source,.soft{color:var(--soft)}.source{font-size:.9rem}
        nav ul{display:flex;flex-wrap:wrap;gap:.3rem 1rem;margin:.8rem 0;padding:0;list-style:none;font-size:.9rem}
        figure{margin:1rem 0 1.4rem;max-width:56rem}
        figcaption{font-size:.92rem;margin-bottom:.3rem;max-width:52rem}figcaption b{display:block;font-weight:600}
        .plot{display:block;width:100%;height:auto}
        .plot text{font-family:Helvetica,Arial,"Liberation Sans",sans-serif}
        code{font:.86rem/1.5 ui-monospace,"SF Mono",Menlo,Consolas,monospace}
        .wide{overflow-x:auto;margin:.8rem 0 1.2rem}
        table{border-collapse:collapse;font-size:.88rem;font-variant-numeric:tabular-nums}
        thead th{color:var(--soft);font-weight:500;vertical-align:bottom}
        th{text-align:left}tbody th{font-weight:500}
        th,td{padding:.25rem .9rem .25rem 0;border-bottom:1px solid var(--line);vertical-align:top}
        th:first-child{padding-left:.2rem}
        .n{text-align:right}td.n{white-space:nowrap}table:not(.goals) tbody th{white-space:nowrap}
        .good{color:var(--good);font-weight:600}.bad{color:var(--bad);font-weight:600}
        details{border-bottom:1px solid var(--line)}
        summary{cursor:pointer;padding:.35rem .2rem;overflow-wrap:anywhere}
        dl{display:grid;grid-template-columns:max-content 1fr;gap:.25rem 1.2rem;margin:.2rem 0 .7rem 1.3rem;font-size:.92rem}
        dt{color:var(--soft)}dd{margin:0;overflow-wrap:anywhere}
        @media (max-width:38rem){body{font-size:15px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}h1{font-size:1.35rem}}
        @media print{:root{--paper:#fff;--ink:#000;--tint:#fff}main{max-width:none;padding:0}nav{display:none}details::details-content{content-visibility:visible;display:block;block-size:auto}.wide{overflow:visible}h2{break-after:avoid}figure,details{break-inside:avoid}}
        """;
}

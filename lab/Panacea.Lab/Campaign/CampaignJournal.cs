using System.Security.Cryptography;
using System.Text.Json;

namespace Panacea.Lab.Campaign;

/// <summary>Results of a campaign as they come, a line of JSON each: one that was interrupted goes on where it was, with the same executable.</summary>
public sealed class CampaignJournal
{
    private readonly string _path;
    private readonly List<CampaignRecord> _records = [];

    private CampaignJournal(string path, string? panacea) => (_path, Panacea) = (path, panacea);

    /// <summary>SHA-256 of the executable, hex; null where no arm needs one.</summary>
    public string? Panacea { get; }

    /// <summary>All results so far.</summary>
    public IReadOnlyList<CampaignRecord> Records => _records;

    /// <summary>Opens or begins one.</summary>
    /// <param name="path">The file.</param>
    /// <param name="panacea">The executable; null where no arm needs one.</param>
    /// <param name="seed">The campaign's seed.</param>
    /// <exception cref="LabException">The file is of another executable or of another seed, or is no journal.</exception>
    public static CampaignJournal Open(string path, string? panacea, ulong seed)
    {
        string? hash = null;
        if (panacea is not null)
        {
            using FileStream program = File.OpenRead(panacea);
            hash = Convert.ToHexStringLower(SHA256.HashData(program));
        }

        var journal = new CampaignJournal(path, hash);
        if (!File.Exists(path))
            return journal;
        foreach (CampaignRecord record in CampaignResults.ReadFile(path))
        {
            if (hash is not null && record.Panacea is { } other && other != hash)
                throw new LabException($"{path} was begun with another executable than {panacea}: results of both do not belong into one campaign; give another --output");
            if (record.CampaignSeed is { } otherSeed && otherSeed != seed)
                throw new LabException($"{path} was begun with the seed {otherSeed}: a fault of the same number is another one with {seed}; give another --output, or the same --seed");
            journal._records.Add(record);
        }

        return journal;
    }

    /// <summary>The arm that is to be run next of a trial; null where nothing is left.</summary>
    /// <param name="kernel">Release.</param>
    /// <param name="workload">Name.</param>
    /// <param name="trial">Number.</param>
    /// <param name="options">Which arms there are.</param>
    public CampaignArm? Next(string kernel, string workload, int trial, CampaignOptions options)
    {
        List<CampaignRecord> done = [.. _records.Where(r => r.Trial == trial && r.Workload == workload && r.Kernel == kernel)];
        if (done.Exists(r => r.Arm is null))
            return null;
        CampaignArm[] left = [.. options.Arms.Where(a => !done.Exists(r => r.Arm == a))], always = [.. left.Except(options.WhereManifested)];
        return always.Length > 0 ? always[0]
            : left.Length > 0 && done.Exists(r => !options.WhereManifested.Contains(r.Arm!.Value) && r.Outcome is not (TrialOutcome.NotActivated or TrialOutcome.NoEffect)) ? left[0] : null;
    }

    /// <summary>Adds a result.</summary>
    public void Add(CampaignRecord record)
    {
        _records.Add(record);
        File.AppendAllText(_path, JsonSerializer.Serialize(record, CampaignJson.Default.CampaignRecord) + "\n");
    }
}

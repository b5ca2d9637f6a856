namespace Panacea.Cli.Services.Inspection;

/// <summary>Devices: who has which numbers, and what is under way on disks.</summary>
/// <param name="Characters">Ranges of character devices, by number.</param>
/// <param name="Blocks">Major numbers of block devices.</param>
/// <param name="Disks">Disks, by device number.</param>
internal sealed record DevicesAnswer(IReadOnlyList<CharacterDriverRow> Characters, IReadOnlyList<BlockDriverRow> Blocks, IReadOnlyList<DiskRow> Disks);

/// <summary>A range of character devices.</summary>
/// <param name="Major">Major number.</param>
/// <param name="Minor">First minor number.</param>
/// <param name="Minors">How many.</param>
/// <param name="Name">Name, as in /proc/devices.</param>
/// <param name="Cdev">struct cdev; null where there is none.</param>
/// <param name="Operations">Its file_operations, by symbol; null where there are none.</param>
internal sealed record CharacterDriverRow(long Major, long Minor, long Minors, string Name, ulong? Cdev, string? Operations);

/// <summary>A major number of block devices.</summary>
/// <param name="Major">Major number.</param>
/// <param name="Name">Name, as in /proc/devices.</param>
/// <param name="Gendisk">struct gendisk of one of its disks; null where it has none.</param>
/// <param name="Operations">Its block_device_operations, by symbol; null where it has none.</param>
internal sealed record BlockDriverRow(long Major, string Name, ulong? Gendisk, string? Operations);

/// <summary>A disk.</summary>
/// <param name="Major">Major number.</param>
/// <param name="Minor">Minor number.</param>
/// <param name="Gendisk">struct gendisk.</param>
/// <param name="Name">Name.</param>
/// <param name="RequestQueue">struct request_queue.</param>
/// <param name="Reads">Reads under way; null where unknown.</param>
/// <param name="Writes">Writes and other operations that change something; null where unknown.</param>
internal sealed record DiskRow(long Major, long Minor, ulong Gendisk, string Name, ulong RequestQueue, long? Reads, long? Writes);

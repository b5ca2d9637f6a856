namespace Panacea.Target.Qemu.Clone;

/// <summary>What a disk of a running VM holds at the moment.</summary>
/// <param name="Backend">The backend's name, as <c>-device …,drive=</c> calls it; empty for a node that was attached by its own name.</param>
/// <param name="Node">Name of the topmost node of the block graph.</param>
/// <param name="Device">The device, by id or path; empty for none.</param>
/// <param name="Format">Image format: raw, qcow2, …; null where there is no medium.</param>
/// <param name="File">What to open; null where there is no medium.</param>
/// <param name="IsHostDevice">The file is a block device of the host.</param>
/// <param name="IsReadOnly">The guest can't write to it.</param>
public sealed record CloneDisk(string Backend, string Node, string Device, string? Format, string? File, bool IsHostDevice, bool IsReadOnly);

/// <summary>What a clone has that its original has not.</summary>
/// <param name="Memory">For each memory backend, by its id, the file that it is.</param>
/// <param name="IsMemoryOwn">Those files are the clone's alone; else its mappings of them are private, so that it leaves them as they are.</param>
/// <param name="Disks">The disks of the original.</param>
/// <param name="HasOwnNetwork">It runs in a network namespace of its own, where tap devices can be made.</param>
/// <param name="Consoles">Directory for sockets of its serial ports and channels; null for a clone that nobody looks at.</param>
public sealed record CloneParts(IReadOnlyDictionary<string, string> Memory, bool IsMemoryOwn, IReadOnlyList<CloneDisk> Disks, bool HasOwnNetwork, string? Consoles);

namespace Panacea.GuestTests.Oracles;

/// <inheritdoc/>
public sealed class NullWriteOracleTests61(NullWrite61 dump) : OracleTests(dump), IClassFixture<NullWrite61>;

/// <inheritdoc/>
public sealed class NullWriteOracleTests612(NullWrite612 dump) : OracleTests(dump), IClassFixture<NullWrite612>;

/// <inheritdoc/>
public sealed class NullCallOracleTests61(NullCall61 dump) : OracleTests(dump), IClassFixture<NullCall61>;

/// <inheritdoc/>
public sealed class NullCallOracleTests612(NullCall612 dump) : OracleTests(dump), IClassFixture<NullCall612>;

/// <inheritdoc/>
public sealed class BugOracleTests61(Bug61 dump) : OracleTests(dump), IClassFixture<Bug61>;

/// <inheritdoc/>
public sealed class BugOracleTests612(Bug612 dump) : OracleTests(dump), IClassFixture<Bug612>;

/// <inheritdoc/>
public sealed class PanicOracleTests61(Panic61 dump) : OracleTests(dump), IClassFixture<Panic61>;

/// <inheritdoc/>
public sealed class PanicOracleTests612(Panic612 dump) : OracleTests(dump), IClassFixture<Panic612>;

// A rule as Python encodes it (ecgloss/pairs/encoding.py). Fields have the names and the order of the named tuples
// there; the functions `of` are the only code that reads them by index.
#pragma once

#include <cstdint>

namespace ecgloss {

enum class Kind : int { uniform, risk, labels, features, gaussian };  // as Kind in Python

enum class Norm : int { none, mean, softmax };  // of omega over a row; as WEIGHT_NORMS in Python

struct RuleCode {
  static constexpr int kFields = 8;
  Kind kind;
  Norm norm;             // risk
  int power;             // exponent q of the distance, 1 or 2 (risk)
  bool unknown_is_zero;  // an unknown risk counts as 0; otherwise its pairs take the mean distance (risk)
  bool revert;           // unreliable pairs revert to the mean dissimilarity instead of 0 (risk)
  bool overlap;          // dissimilar features of equal labels are negatives too (features)
  int64_t samples;       // B (risk)
  int64_t width;         // risks per sample (risk); features or metadata per row

  static RuleCode of(const int64_t* fields) {
    return {static_cast<Kind>(fields[0]),
            static_cast<Norm>(fields[1]),
            static_cast<int>(fields[2]),
            fields[3] != 0,
            fields[4] != 0,
            fields[5] != 0,
            fields[6],
            fields[7]};
  }
};

struct RuleNumbers {
  static constexpr int kFields = 3;
  double alpha;        // minimum dissimilarity (risk)
  double fixed_scale;  // s of Delta / s; 0: scaled by the largest distance of the batch (risk)
  double threshold;    // least cosine of similar features (features)

  static RuleNumbers of(const double* fields) { return {fields[0], fields[1], fields[2]}; }
};

// Side information; null for what does not apply.
struct Side {
  const double* values;          // risks [samples][width], NaN = unknown; features or metadata [n][width]
  const double* column_values;   // features or metadata of the columns [m][width]; null where they are the rows
  const double* missing;         // [samples] fractions f of missing inputs; null: complete metadata
  const int64_t* row_labels;     // [n]
  const int64_t* column_labels;  // [m]; null where the columns are the rows
};

// A whole rule, without its layout.
struct Encoding {
  RuleCode code;
  RuleNumbers numbers;
  Side side;
};

}  // namespace ecgloss

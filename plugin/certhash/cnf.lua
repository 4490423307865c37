-- Reads the names and the VPN settings of Cisco IP phones' configuration files (SEP<MAC>.cnf.xml and the like).
--
--   local file, problem = cnf.read(name, content)
--
-- Only /device/vpnGroup counts: addresses/url1 to url3 and credentials/certHash1 to certHash10.  The two lists are
-- independent (usecallmanager.nz, sepmac-cnf-xml; CME's vpn-gateway and vpn-trustpoint have the same limits).
-- /device/certHash is something else: the hash of the phone's own certificate.
--
-- Real files have defects: an undeclared xsi:, mismatched tags and the like.  A file that is so damaged that a vpnGroup may
-- be incomplete or lost is refused: an incomplete list of hashes would cause a false mismatch.

---@class certhash.HeadEnd
---@field host string in lower case
---@field port integer
---@field address string|nil its bytes, if the host is an address

---@class certhash.Url
---@field number integer
---@field text string
---@field head_end certhash.HeadEnd|nil
---@field problem string|nil

---@class certhash.Hash
---@field number integer
---@field text string
---@field digest string|nil bytes
---@field algorithm string|nil

---@class certhash.File the content of a phone's configuration file
---@field device string
---@field name string
---@field kind string plain, signed or encrypted
---@field urls certhash.Url[]|nil
---@field hashes certhash.Hash[]|nil
---@field hash_algorithm string
---@field host_id_check string
---@field path string|nil its location
---@field frame integer|nil the frame that completed its download
---@field client string|nil the client that downloaded it, as the bytes of its address

local M = { LARGEST = 2 * 1024 * 1024 }

local others = ... or {}  -- the modules by name (plain.lua)
local digest, headend, markup, names, xml = others.digest, others.headend, others.markup, others.names, others.xml

-- ---------------------------------------------------------------------------------------------------------------------
-- The signed form

-- A header of tag (1 byte), length (2), value precedes the file: tag 1 is the version (2.0 if the file is encrypted), 2 the
-- header's length, 13 a single byte of padding, 14 the file name, 16 to 27 describe the encryption.
-- Return the payload and whether it is encrypted; else nil and an error.
local function unwrap(content)
    if content:byte(6) ~= 2 or content:byte(7) ~= 0 or content:byte(8) ~= 2 or #content < 10 then
        return nil, "its signed header is damaged (no header length)"
    end
    local stop = content:byte(9) * 256 + content:byte(10)
    if stop < 10 or stop >= #content then
        return nil, ("it is cut short: its signed header announces %d bytes, %d are there"):format(stop, #content)
    end
    local encrypted = content:byte(4) >= 2
    local at = 0
    while at < stop do
        local tag, high, low = content:byte(at + 1, at + 3)
        if tag == 13 then
            at = at + 1
        else
            encrypted = encrypted or tag >= 16 and tag <= 27
            at = at + 3 + (high or 0) * 256 + (low or 0)
            if at > stop then
                return nil, "its signed header is damaged (a field reaches over the end)"
            end
        end
    end
    return content:sub(stop + 1), encrypted
end

-- ---------------------------------------------------------------------------------------------------------------------
-- The vpnGroup

-- XMLDefault.cnf.xml, for phones without a file of their own, has the root Default.
local ROOTS = { device = true, Default = true }
M.WANTED = { vpnGroup = true, fullConfig = true }

local SEVERAL = "it has several vpnGroup elements, and it is unknown which one a phone uses"
local TORN = "it is damaged or cut short within its vpnGroup"

local function wrong_root(name)
    return ("its root element is <%s>; a phone's configuration has <device>, or <Default> in XMLDefault.cnf.xml")
        :format(name)
end

-- It is unknown how a phone handles <Device> or <default>; without a vpnGroup it is irrelevant here.
local function is_root(name)
    local lower = name:lower()
    return lower == "device" or lower == "default"
end

local OTHER_CASE = "its root element is <%s>, and phones distinguish upper and lower case"

-- Return the only child of a root with a name.
local function children(root, name)
    local found = {}
    for _, child in ipairs(root.children) do
        if child.name == name then
            found[#found + 1] = child
        end
    end
    return found
end

-- Parse the vpnGroup alone, in a text with the word only in its tags; return nil if it is incomplete.
local function cut_out(text, from)
    local to = select(2, text:find("^<vpnGroup%s*/>", from)) or select(2, text:find("</vpnGroup%s*>", from))
    local root = to and xml.parse("<device>" .. text:sub(from, to) .. "</device>", M.WANTED)
    return root and root.children[1]
end

-- Read nearly any file without parsing all of it as XML, which takes a millisecond; folders may have thousands of files.
-- Return true and the vpnGroup (or nil) if a full parser would return the same; else false, and a full parse is required.
--
-- A strict parser accepts a vpnGroup that is a child of the root; in a damaged file it is accepted anywhere.  So it counts
-- in both cases if it is complete, the only one, and exactly one element is open before it.  The count of partial tags
-- gives the number of open elements, provided that < and > are equally frequent.
local function quick(text)
    local open = false
    if text:find("<!--", 1, true) then
        text, open = markup.without_comments(text)
    end
    local root = text:match("^%s*<(%a+)[%s>]")
    if open or not ROOTS[root] or text:find("<!", 1, true) or text:find("<?", 1, true) then
        return false
    end
    local from = text:find("vpnGroup", 1, true)
    if not from then
        local closed = text:find("</device%s*>%s*$", -100) or text:find("</Default%s*>%s*$", -100)
        return closed and not text:find("fullConfig>%s*[fF]") and not text:find("<credentials", 1, true)
            and not text:find("<addresses", 1, true)
    end
    local words = markup.occurrences(text, "vpnGroup", from, #text)
    from = from - 1
    local empty = text:find("^<vpnGroup%s*/>", from)
    if words ~= (empty and 1 or 2) or not (empty or text:find("^<vpnGroup%s*>", from)) then
        return false
    end
    local before = from - 1
    local function count(piece)
        return markup.occurrences(text, piece, 1, before)
    end
    local tags = count("<")
    if tags ~= count(">") or tags - 2 * count("</") - count("/>") ~= 1 then
        return false
    end
    local group = cut_out(text, from)
    return group ~= nil, group
end

-- Return the vpnGroup of a file that is not well-formed, if it is complete and the only one.
local function salvage(text)
    text = markup.without_comments(text)
    local root = text:match("<([%a_][%w_.\128-\255-]*)")
    if not root then
        return nil, "it is not XML"
    elseif not is_root(root) then
        return nil, wrong_root(root)
    end
    local from = text:find("<vpnGroup%f[^%w_]")
    if from and not ROOTS[root] then
        return nil, OTHER_CASE:format(root)
    elseif from then
        if text:find("<vpnGroup%f[^%w_]", from + 1) then
            return nil, SEVERAL
        end
        local group = markup.occurrences(text, "</vpnGroup", 1, #text) == (text:find("^<vpnGroup%s*/>", from) and 0 or 1)
            and cut_out(text, from)
        if not group then
            return nil, TORN
        end
        return group
    elseif not is_root(text:match("</(%a+)%s*>%s*$", -200) or "")
        or text:find("vpnGroup", 1, true) or text:find("<credentials", 1, true) or text:find("<addresses", 1, true) then
        return nil, "it is damaged or cut short, and a vpnGroup may be missing"
    end
    return false, (text:match("<fullConfig>%s*(%a+)%s*</fullConfig>") or ""):lower() == "false" and "encrypted" or nil
end

--- Return the vpnGroup of a file; false and "encrypted" for the short companion of an encrypted file; else nil and an
-- error.
function M.thorough(text)
    if not text:find("<![CDATA[", 1, true) then
        text = markup.with_references(text)
    end
    -- No file of CUCM declares the prefix of its xsi:type; this is not damage.
    if not text:find("xmlns:xsi", 1, true) then
        text = text:gsub("<device(%s)", '<device xmlns:xsi="urn:undeclared"%1', 1)
    end
    local root = xml.parse(text, M.WANTED)
    if not root then
        return salvage(text)
    elseif not is_root(root.name) then
        return nil, wrong_root(root.name)
    elseif not ROOTS[root.name] and text:find("vpnGroup", 1, true) then
        return nil, OTHER_CASE:format(root.name)
    end
    local groups = children(root, "vpnGroup")
    if #groups > 1 then
        return nil, SEVERAL
    elseif groups[1] then
        return groups[1]
    end
    local full = children(root, "fullConfig")[1]
    return false, full and markup.trim(full.text):lower() == "false" and "encrypted" or nil
end

-- Return the text of the first element of a group in the right place, or "", and whether another such element has a
-- different text.
local function text_of(group, parent, name)
    local first, other = nil, false
    for _, element in ipairs(group.within) do
        local holder = element.parent
        if element.name == name and (parent and holder.name == parent and holder.parent == group
            or not parent and holder == group) then
            local text = markup.trim(element.text)
            first = first or text
            other = other or text ~= first
        end
    end
    return first or "", other
end

-- Return the elements prefixN under a parent of the group, as { number =, text = } by number; nil and an error if one of
-- them is ambiguous.
local function numbered(group, parent, prefix, highest)
    local holders = {}
    for _, element in ipairs(group.within) do
        holders[element.parent] = true
    end
    local by_number, list, first_holder = {}, {}, nil
    for _, element in ipairs(group.within) do
        local digits = element.name:match("^" .. prefix .. "([1-9]%d?%d?%d?)$")
        local number, holder = tonumber(digits), element.parent
        if number and number <= highest and holder.name == parent and holder.parent == group then
            local text = markup.trim(element.text)
            if holders[element] then
                return nil, ("<%s> contains other elements, so its value is unknown"):format(element.name)
            elseif first_holder and first_holder ~= holder then
                return nil, ("<%s> is in a second <%s>, and it is unknown which one counts"):format(element.name, parent)
            elseif by_number[number] and by_number[number] ~= text then
                return nil, ("<%s> occurs twice with different values, and it is unknown which one counts")
                    :format(element.name)
            end
            by_number[number], first_holder = text, holder
        end
    end
    for number = 1, highest do
        if by_number[number] then
            list[#list + 1] = { number = number, text = by_number[number] }
        end
    end
    return list
end

-- Return an error for text among the URLs or the hashes ("[lines omitted]", dots, the signs of a diff), or nil.
local function gap(group)
    local holders = {}
    for _, element in ipairs(group.within) do
        holders[element.parent] = true
    end
    for _, element in ipairs(group.within) do
        if (element.name == "addresses" or element.name == "credentials") and holders[element]
            and markup.trim(element.text) ~= "" then
            return "text is among its URLs or hashes, where lines may be missing: copy the whole vpnGroup"
        end
    end
    local own = markup.trim(group.text)
    if own ~= "" and own:find("^[-+%s]+$") and #group.within > 0 then
        return "its vpnGroup contains the signs of a diff, and it is unknown which lines count"
    end
    return nil
end

--- Add the vpnGroup to the file; return nil and an error if it cannot be read.
function M.read_group(file, group)
    local urls, hashes
    local problem = gap(group)
    if problem then
        return nil, problem
    end
    urls, problem = numbered(group, "addresses", "url", 3)
    if not urls then
        return nil, problem
    end
    hashes, problem = numbered(group, "credentials", "certHash", 10)
    if not hashes then
        return nil, problem
    end
    file.urls = {}
    for _, url in ipairs(urls) do
        if url.text ~= "" then
            url.head_end, url.problem = headend.read(url.text)
            file.urls[#file.urls + 1] = url
        end
    end
    for _, item in ipairs(hashes) do
        item.digest, item.algorithm = digest.read(item.text)
    end
    file.hashes = hashes
    local several
    file.hash_algorithm, several = text_of(group, "credentials", "hashAlg")
    file.hash_algorithm = several and "" or file.hash_algorithm
    file.host_id_check, file.checked_twice = text_of(group, nil, "enableHostIDCheck")
    file.host_id_check = file.checked_twice and "" or file.host_id_check
    return file
end

--- Read a configuration file, plain or signed.
-- Returns { device, name, kind, urls, hashes, hash_algorithm, host_id_check }: kind is "plain", "signed" or "encrypted";
-- urls and hashes are nil if the file has no vpnGroup or is encrypted; a url is { number, text, head_end or problem }, a
-- hash { number, text, digest (bytes), algorithm }, the last two nil if digest.
-- If it cannot be read correctly: nil and an error that continues a sentence after the file name.
---@param name string
---@param content string
---@return certhash.File|nil
---@return string|nil problem
function M.read(name, content)
    if #content > M.LARGEST then
        return nil, ("it has %.0f MB; a phone's configuration has only some kilobytes"):format(#content / 1048576)
    elseif not content:find("[^\0%s]") then
        return nil, "it is empty"
    end
    local file = { device = names.device(name) or names.base_name(name), name = names.base_name(name), kind = "plain" }
    if content:find("^\1\0\2") then
        local payload, encrypted = unwrap(content)
        if not payload then
            return nil, encrypted
        end
        content, file.kind = payload, encrypted and "encrypted" or "signed"
        if encrypted then
            return file
        end
    end
    local text, problem = markup.text(content)
    if not text then
        return nil, problem
    elseif text:find("<!", 1, true)
        and (text:find("<!%s*[dD][oO][cC][tT][yY][pP][eE]") or text:find("<!%s*[eE][nN][tT][iI][tT][yY]")) then
        return nil, "it has a document type declaration, which no phone's configuration has: not read"
    elseif not text:find("^%s*<") then
        return nil, "it is not XML"
    end
    text = markup.without_declaration(text)
    local certain, group = quick(text)
    if not certain then
        group, problem = M.thorough(text)
        if group == nil then
            return nil, problem
        end
    end
    if group then
        return M.read_group(file, group)
    end
    file.kind = problem or file.kind
    return file
end

--- Return messages about what makes a file impossible to check, or says otherwise than meant.
---@param file certhash.File
---@return string[]
function M.problems(file)
    local out = {}
    for _, url in ipairs(file.urls or {}) do
        if url.problem then
            out[#out + 1] = ("url%d: %s"):format(url.number, url.problem)
        end
    end
    for _, item in ipairs(file.hashes or {}) do
        if not item.digest then
            local written = item.text == "" and "is empty" or 'is "' .. digest.shown(item.text) .. '"'
            out[#out + 1] = ("certHash%d %s: %s"):format(item.number, written, digest.why_malformed(item.text))
        elseif item.algorithm ~= "SHA-1" and (file.hash_algorithm == "" or file.hash_algorithm == "0") then
            out[#out + 1] = ("certHash%d %s"):format(item.number, digest.why_longer(item.algorithm))
        end
    end
    if file.checked_twice then
        out[#out + 1] = "enableHostIDCheck occurs twice with different values, and it is unknown which one counts: "
            .. "the check is assumed to be on"
    end
    return out
end

return M
